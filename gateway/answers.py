"""The answer side of HTTP/1.1 (RFC 9112) without I/O: what an upstream sends, read as strictly as what a client sends.

An answer is complete only when its framing says so. An end of the connection before that is an error, never a shorter
answer; trailers are read over and reach nobody.
"""

from __future__ import annotations

from gateway.chunked import ChunkedReader
from gateway.errors import FramingError
from gateway.fields import Entry, Field, FieldTable, parse_length, split_head
from gateway.settings import Limits

_INTERIM_ANSWERS = 8

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


class AnswerReader:
    """One answer. `feed` returns the content among the bytes given; the attributes tell how far the answer is.

    - `status` is 0 until the head is read; then `headers` holds the end-to-end fields (names in lower case) and
      `length` what Content-Length said (None: it did not)
    - `complete`: the answer has ended; `reusable`: another request may go over the connection
    - `idle_hint`: seconds that the upstream keeps an idle connection, by its Keep-Alive header
    """

    __slots__ = (
        "_buffer", "_chunked", "_for_head", "_interim", "_left", "_limits", "_scanned",
        "complete", "headers", "idle_hint", "length", "reusable", "status", "touched",
    )  # fmt: skip

    def __init__(self, limits: Limits, *, for_head: bool) -> None:
        self._limits = limits
        self._for_head = for_head
        self._buffer = b""
        self._scanned = 0
        self._interim = 0
        self._left = 0
        self._chunked: ChunkedReader | None = None
        self.touched = False
        self.status = 0
        self.headers: list[Field] = []
        self.length: int | None = None
        self.complete = False
        self.reusable = True
        self.idle_hint: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Content bytes among `data`; whatever follows a complete answer makes the connection unfit. FramingError."""
        self.touched = True
        if not self.status:
            if self._buffer:
                data = self._buffer + data
            rest = self._read_head(data)
            if rest is None:
                return b""
            data = rest
        if self._chunked is not None:
            return self._feed_chunked(self._chunked, data)
        if self._left < 0:
            return data
        if len(data) < self._left:
            self._left -= len(data)
            return data
        if len(data) > self._left:
            self.reusable = False
            data = data[: self._left]
        self._left = 0
        self.complete = True
        return data

    def end(self) -> None:
        """The upstream closed its side: completes an answer that is delimited by that. FramingError for any other."""
        if self.status and self._left < 0 and self._chunked is None:
            self.complete = True
            return
        raise FramingError(502, "truncated", "the upstream closed the connection before its answer was complete")

    def _feed_chunked(self, chunked: ChunkedReader, data: bytes) -> bytes:
        content = chunked.feed(data)
        if chunked.ended:
            self.complete = True
            if chunked.rest:
                self.reusable = False
        return content

    def _read_head(self, data: bytes) -> bytes | None:
        """Read the head, over interim answers; returns what follows it, None while it is not complete."""
        while True:
            end = data.find(b"\r\n\r\n", self._scanned - 3 if self._scanned > 3 else 0)
            if end < 0 or end > self._limits.headers:
                self._check_partial(data)
                return None
            raw, data = data[:end], data[end + 4 :]
            self._scanned = 0
            self._buffer = b""
            status = self._parse(raw)
            if status >= 200:
                self.status = status
                return data
            self._interim += 1
            if status == 101 or self._interim > _INTERIM_ANSWERS:
                raise FramingError(502, "interim", "the upstream sent an interim answer that was not asked for")

    def _check_partial(self, data: bytes) -> None:
        if len(data) > self._limits.headers + 3:
            raise FramingError(502, "head", f"the answer's head is longer than {self._limits.headers} bytes")
        self._buffer = data
        self._scanned = len(data)

    def _parse(self, raw: bytes) -> int:
        limits = self._limits
        lines = split_head(raw, limits.headers, limits.header_count)
        status = _STATUS_LINES.get(lines[0][:13]) or _status(lines[0])
        if status < 200:
            return status
        del lines[0]
        self.headers, special = _FIELDS.read(lines)
        self._apply(status, raw.startswith(b"HTTP/1.0"), special)
        return status

    def _apply(self, status: int, is_old: bool, special: list[Entry]) -> None:
        once: dict[int, bytes] = {}
        connection = b""
        for role, (name, value) in special:
            if role <= _CODING:
                if role in once:
                    raise FramingError(502, "duplicate", f"the answer's header {name.decode()} is there twice")
                once[role] = value
            elif role == _CONNECTION:
                connection += b"," + value.lower() if connection else value.lower()
            elif role == _KEEP_ALIVE:
                self.idle_hint = _idle_hint(value)
        if len(dict(self.headers)) != len(self.headers):
            _check_repeated(self.headers)
        self.reusable = not is_old
        if connection and connection != b"keep-alive":
            options = {option.strip(b" \t") for option in connection.split(b",")}
            self.reusable = self.reusable and b"close" not in options
            self.headers = [field for field in self.headers if field[0] not in options]
        self._frame(status, is_old, once.get(_LENGTH), once.get(_CODING))

    def _frame(self, status: int, is_old: bool, length: bytes | None, coding: bytes | None) -> None:
        """How the content is delimited (RFC 9112 §6.3); `_left` below zero: by the end of the connection."""
        if coding is not None and (length is not None or is_old or coding.lower() != b"chunked"):
            raise FramingError(
                502, "transfer_encoding", "the answer's Transfer-Encoding is not chunked, alone and once"
            )
        if length is not None:
            self.length = parse_length(length)
        if self._for_head or status in {204, 304}:
            return
        if coding is not None:
            self._chunked = ChunkedReader(trailers=True)
        elif self.length is not None:
            self._left = self.length
        else:
            self._left = -1
            self.reusable = False


def _check_repeated(fields: list[Field]) -> None:
    """Of two types or codings one would be inspected, and the client might go by the other."""
    names = [field[0] for field in fields]
    for name in (b"content-type", b"content-encoding", b"location"):
        if names.count(name) > 1:
            raise FramingError(502, "duplicate", f"the answer's header {name.decode()} is there twice")


_STATUS_LINES = {f"HTTP/1.1 {status} ".encode(): status for status in range(200, 600)}


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


def _idle_hint(value: bytes) -> int | None:
    for parameter in value.split(b","):
        name, _, seconds = parameter.strip().partition(b"=")
        if name.lower() == b"timeout" and seconds.isdigit() and len(seconds) < 7:
            return int(seconds)
    return None
