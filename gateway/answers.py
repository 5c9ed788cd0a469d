"""The answer side of HTTP/1.1 (RFC 9112) without I/O: what an upstream sends, read as strictly as what a client sends.

An answer is complete only when its framing says so. An end of the connection before that is an error, never a shorter
answer; trailers are read over and reach nobody.
"""

from __future__ import annotations

from gateway.chunked import ChunkedReader
from gateway.errors import FramingError
from gateway.fields import Field, check_bytes, parse_length, read_fields
from gateway.settings import Limits

_INTERIM_ANSWERS = 8
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"te", b"trailer", b"upgrade")
) | frozenset((b"transfer-encoding", b"content-length", b"proxy-authorization"))


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
            end = data.find(b"\r\n\r\n", max(0, self._scanned - 3))
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
        check_bytes(raw)
        lines = raw.split(b"\r\n")
        version, status = _status_line(lines[0])
        if status < 200:
            return status
        if len(lines) - 1 > self._limits.header_count:
            raise FramingError(502, "header_count", f"the answer has more than {self._limits.header_count} headers")
        del lines[0]
        self._apply(status, version, read_fields(lines, self._limits.headers))
        return status

    def _apply(self, status: int, version: bytes, fields: list[Field]) -> None:
        length: bytes | None = None
        coding: bytes | None = None
        connection = b""
        kept: list[Field] = []
        for field in fields:
            name, value = field
            if name not in _HOP_BY_HOP:
                kept.append(field)
            elif name == b"content-length":
                if length is not None:
                    raise FramingError(502, "content_length", "the answer has more than one Content-Length")
                length = value
            elif name == b"transfer-encoding":
                if coding is not None:
                    raise FramingError(502, "transfer_encoding", "the answer has more than one Transfer-Encoding")
                coding = value
            elif name == b"connection":
                connection += b"," + value.lower() if connection else value.lower()
            elif name == b"keep-alive":
                self.idle_hint = _idle_hint(value)
        self.headers = kept
        if connection and connection != b"keep-alive":
            options = {option.strip(b" \t") for option in connection.split(b",")}
            self.reusable = b"close" not in options
            self.headers = [field for field in kept if field[0] not in options]
        if version == b"HTTP/1.0":
            self.reusable = False
        self._frame(status, version, length, coding)

    def _frame(self, status: int, version: bytes, length: bytes | None, coding: bytes | None) -> None:
        """How the content is delimited (RFC 9112 §6.3); `_left` below zero: by the end of the connection."""
        if coding is not None and (length is not None or version == b"HTTP/1.0" or coding.lower() != b"chunked"):
            raise FramingError(
                502, "transfer-encoding", "the answer's Transfer-Encoding is not chunked, alone and once"
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


def _status_line(line: bytes) -> tuple[bytes, int]:
    version, _, rest = line.partition(b" ")
    code = rest[:3]
    if version not in {b"HTTP/1.1", b"HTTP/1.0"} or not code.isdigit() or rest[3:4] not in {b"", b" "}:
        raise FramingError(502, "status_line", "the upstream's answer does not begin with an HTTP/1.1 status line")
    status = int(code)
    if not 100 <= status <= 599 or len(code) != 3:
        raise FramingError(502, "status_line", "the upstream's status code is outside 100 to 599")
    return version, status


def _idle_hint(value: bytes) -> int | None:
    for parameter in value.split(b","):
        name, _, seconds = parameter.strip().partition(b"=")
        if name.lower() == b"timeout" and seconds.isdigit() and len(seconds) < 7:
            return int(seconds)
    return None
