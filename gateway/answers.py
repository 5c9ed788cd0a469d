"""The answer side of HTTP/1.1 (RFC 9112) without I/O: what an upstream sends, read as strictly as what a client sends.

An answer is complete only when its framing says so. An end of the connection before that is an error, never a shorter
answer; trailers are read over and reach nobody.
"""

from __future__ import annotations

from functools import lru_cache

from gateway.chunked import ChunkedReader
from gateway.errors import FramingError
from gateway.fields import Field, FieldTable, parse_length, split_head
from gateway.settings import Limits

_INTERIM_ANSWERS = 8
_BODILESS = frozenset((204, 304))
_REMEMBERED_LENGTH = 1_024

_LENGTH, _CODING, _CONNECTION, _KEEP_ALIVE, _DROPPED = range(1, 6)

_FIELDS = FieldTable(
    {
        b"content-length": _LENGTH,
        b"transfer-encoding": _CODING,
        b"connection": _CONNECTION,
        b"keep-alive": _KEEP_ALIVE,
        **dict.fromkeys((b"proxy-connection", b"proxy-authenticate", b"te", b"trailer", b"upgrade"), _DROPPED),
    },
    prefix=(b"x-cordon-", _DROPPED),
)

# Readers differ on which of two they take.
_SINGLE = frozenset({b"content-type", b"content-encoding", b"location"})


class AnswerHead:
    """What an answer's head says.

    - `status`; `headers`: the end-to-end fields, names in lower case; `count`: all fields that there were
    - `length`: what Content-Length says (None: nothing), or `chunked`
    - `lasting`: the upstream does not mean to close; `idle_hint`: seconds that it keeps an idle connection (Keep-Alive)
    """

    __slots__ = ("chunked", "count", "headers", "idle_hint", "lasting", "length", "status")

    def __init__(self, status: int) -> None:
        self.status = status
        self.headers: tuple[Field, ...] = ()
        self.count = 0
        self.length: int | None = None
        self.chunked = False
        self.lasting = True
        self.idle_hint: int | None = None


class AnswerReader:
    """One answer. `feed` returns the content among the bytes given; the attributes tell how far the answer is.

    - `head` is None until it is complete
    - `complete`: the answer has ended; `reusable`: another request may go over the connection
    - `touched`: any byte has come
    """

    __slots__ = (
        "_buffer", "_chunked", "_for_head", "_interim", "_left", "_limits", "complete", "head", "reusable", "touched",
    )  # fmt: skip

    def __init__(self, limits: Limits, *, for_head: bool) -> None:
        self._limits = limits
        self._for_head = for_head
        self._buffer = b""
        self._interim = 0
        self._left = 0
        self._chunked: ChunkedReader | None = None
        self.head: AnswerHead | None = None
        self.touched = self.complete = False
        self.reusable = True

    def feed(self, data: bytes) -> bytes:
        """Content bytes among `data`; whatever follows a complete answer makes the connection unfit. FramingError."""
        if self.head is None:
            self.touched = True
            rest = self._read_head(data)
            if rest is None:
                return b""
            data = rest
        if self._chunked is not None:
            return self._feed_chunked(self._chunked, data)
        left = self._left
        size = len(data)
        if left < 0:
            return data
        if size < left:
            self._left = left - size
            return data
        self.complete = True
        self._left = 0
        if size > left:
            self.reusable = False
            return data[:left]
        return data

    def end(self) -> None:
        """The upstream closed its side: completes an answer that is delimited by that. FramingError for any other."""
        if self.head is None or self._left >= 0 or self._chunked is not None:
            raise FramingError(502, "truncated", "the upstream closed the connection before its answer was complete")
        self.complete = True

    def _feed_chunked(self, chunked: ChunkedReader, data: bytes) -> bytes:
        content = chunked.feed(data)
        if chunked.ended:
            self.complete = True
            if chunked.rest:
                self.reusable = False
        return content

    def _read_head(self, data: bytes) -> bytes | None:
        """Read the head, over interim answers; returns what follows it, None while it is not complete."""
        start = 0
        if self._buffer:
            start = max(0, len(self._buffer) - 3)
            data = self._buffer + data
        while True:
            end = data.find(b"\r\n\r\n", start)
            if end < 0 or end > self._limits.headers:
                if len(data) > self._limits.headers + 3:
                    raise FramingError(502, "head", f"the answer's head is longer than {self._limits.headers} bytes")
                self._buffer = data
                return None
            raw, data = data[:end], data[end + 4 :]
            head = _remembered_head(raw) if end <= _REMEMBERED_LENGTH else read_head(raw)
            if head.count > self._limits.header_count:
                raise FramingError(502, "header_count", f"the answer has more than {self._limits.header_count} headers")
            if head.status >= 200:
                self.head = head
                self.reusable = head.lasting
                self._buffer = b""
                if not self._for_head and head.status not in _BODILESS:
                    self._frame(head)
                return data
            start = 0
            self._interim += 1
            if head.status == 101 or self._interim > _INTERIM_ANSWERS:
                raise FramingError(502, "interim", "the upstream sent an interim answer that was not asked for")

    def _frame(self, head: AnswerHead) -> None:
        """How the content is delimited (RFC 9112 §6.3); `_left` below zero: by the end of the connection."""
        if head.length is not None:
            self._left = head.length
        elif head.chunked:
            self._chunked = ChunkedReader(trailers=True)
        else:
            self._left = -1
            self.reusable = False


def read_head(raw: bytes) -> AnswerHead:
    """Read one whole head, without the empty line that ends it. Raises FramingError."""
    lines = split_head(raw)
    head = AnswerHead(_status(lines[0]))
    del lines[0]
    fields, special = _FIELDS.read(lines)
    head.count = len(lines)
    is_old = raw.startswith(b"HTTP/1.0")
    length = coding = None
    connection = b""
    for role, (name, value) in special:
        if role == _LENGTH:
            length = _only(length, name, value)
        elif role == _CODING:
            coding = _only(coding, name, value)
        elif role == _CONNECTION:
            connection += b"," + value.lower()
        elif role == _KEEP_ALIVE:
            head.idle_hint = _idle_hint(value)
    options = {option.strip(b" \t") for option in connection.split(b",")} if connection else frozenset()
    head.lasting = not is_old and b"close" not in options
    head.headers = tuple(field for field in fields if field[0] not in options) if options else tuple(fields)
    names = [name for name, _ in head.headers if name in _SINGLE]
    if len(names) != len(set(names)):
        raise FramingError(502, "duplicate", "the answer has two types, codings or places to go to")
    if length is not None:
        head.length = parse_length(length)
    if coding is not None:
        if length is not None or is_old or coding.lower() != b"chunked":
            raise FramingError(
                502, "transfer_encoding", "the answer's Transfer-Encoding is not chunked, alone and once"
            )
        head.chunked = True
    return head


# Under load the answers of one upstream have the same head within the second of their Date.
_remembered_head = lru_cache(maxsize=256)(read_head)


def _status(line: bytes) -> int:
    """The status of an answer's first line (RFC 9112 §4); the reason phrase is read over."""
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or not code.isdigit() or rest[3:4] not in {b"", b" "}:
        raise FramingError(502, "status_line", "it does not begin with a status line of HTTP/1.1")
    status = int(code)
    if not 100 <= status <= 599 or len(code) != 3:
        raise FramingError(502, "status_line", "its status code is outside 100 to 599")
    return status


def _only(before: bytes | None, name: bytes, value: bytes) -> bytes:
    if before is not None:
        raise FramingError(502, "duplicate", f"the header {name.decode()} is there twice")
    return value


def _idle_hint(value: bytes) -> int | None:
    for parameter in value.split(b","):
        name, _, seconds = parameter.strip().partition(b"=")
        if name.lower() == b"timeout" and seconds.isdigit() and len(seconds) < 7:
            return int(seconds)
    return None
