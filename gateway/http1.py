"""The request side of HTTP/1.1 (RFC 9112) without I/O: bytes in, a normalised head and a whole body out.

A dialogue of three verbs: `feed` bytes, `read_head` until it yields one, `read_body` until it yields one, and again for
the next request on the connection. The same bytes give the same heads, bodies and errors however they are cut. There is
one grammar and no lenient mode: what two readers could understand differently is refused (FramingError), and the
connection has to be closed after it, since nobody can tell where a next request would begin.
"""

from __future__ import annotations

from gateway.chunked import ChunkedReader
from gateway.errors import FramingError
from gateway.fields import check_bytes
from gateway.request_head import RequestHead, parse_head
from gateway.settings import Limits

_MARKS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_NO_MARK = b"\0"
_REMEMBERED_DIGITS = 15
_BLANK_LINES = 2


class RequestReader:
    """The requests of one connection, one after the other."""

    __slots__ = (
        "_at", "_before", "_blank_lines", "_body", "_body_limit", "_buffer", "_chunked", "_head_limit", "_last",
        "_left", "_limits", "_mark", "_scanned", "_tail",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._head_limit = limits.request_line + limits.headers
        # What is before `_at` was read already. Taking it off at once would copy the rest for each request in it.
        self._buffer = b""
        self._at = 0
        self._scanned = 0
        self._blank_lines = 0
        self._left = 0
        self._body = bytearray()
        self._body_limit = 0
        self._chunked: ChunkedReader | None = None
        # The last head, cut at its Content-Length: `_before`, `_mark`, the digits, `_tail`.
        self._last: RequestHead | None = None
        self._before = self._tail = b""
        self._mark = _NO_MARK

    @property
    def buffered(self) -> int:
        """Bytes held: of a head or body that is not complete yet, and of requests read ahead."""
        return len(self._buffer) - self._at + len(self._body)

    def feed(self, data: bytes) -> None:
        """Take bytes from the connection; the caller bounds how many it lets pile up."""
        if self._at == len(self._buffer):
            self._buffer = data
        else:
            self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def read_head(self) -> RequestHead | None:
        """The next request's head, or None until more bytes are there. Raises FramingError."""
        buffer = self._buffer
        start = self._at
        while buffer.startswith(b"\r\n", start) and self._blank_lines < _BLANK_LINES:
            start = self._at = start + 2
            self._blank_lines += 1
            self._scanned = 0
        end = buffer.find(b"\r\n\r\n", start + self._scanned - 3 if self._scanned > 3 else start)
        if end < 0 or end - start > self._head_limit:
            self._check_partial(buffer, start)
            return None
        raw = buffer[start:end]
        head = self._like_last(raw)
        if head is None:
            head = parse_head(raw, self._limits)
            self._remember(raw, head)
        self._at = end + 4
        self._scanned = self._blank_lines = 0
        self._left = head.length or 0
        self._chunked = ChunkedReader(trailers=False) if head.length is None else None
        return head

    def _like_last(self, raw: bytes) -> RequestHead | None:
        """The head, if it is the one before on this connection but for the number in Content-Length.

        Clients mostly repeat their heads; what was read strictly once need not be read again.
        """
        before, mark, after = raw.partition(self._mark)
        digits, _, tail = after.partition(b"\r\n")
        if self._last is None or before != self._before or tail != self._tail:
            return None
        if not mark:
            return self._last
        if not digits.isdigit() or len(digits) > _REMEMBERED_DIGITS:
            return None
        length = int(digits)
        return self._last if length == self._last.length else self._last.again(length)

    def _remember(self, raw: bytes, head: RequestHead) -> None:
        mark = next((mark for mark in _MARKS if mark in raw), _NO_MARK)
        self._mark = mark
        self._before, _, after = raw.partition(mark)
        digits, _, self._tail = after.partition(b"\r\n")
        self._last = head if digits.isdigit() or (mark is _NO_MARK and head.length == 0) else None

    def allow_body(self, limit: int) -> None:
        """Set the largest body, in bytes, of the request whose head was read. Raises FramingError (413)."""
        self._body_limit = limit
        if self._left > limit:
            raise _too_large(limit)

    def read_body(self) -> bytes | None:
        """The whole body, or None until more bytes are there. Raises FramingError."""
        if self._chunked is not None:
            return self._read_chunked(self._chunked)
        start = self._at
        end = start + self._left
        if not self._body and end <= len(self._buffer):
            self._at = end
            self._left = 0
            return self._buffer[start:end]
        piece = self._buffer[start:end]
        self._at += len(piece)
        self._left -= len(piece)
        self._body += piece
        return None if self._left else self._take_body()

    def _read_chunked(self, chunked: ChunkedReader) -> bytes | None:
        piece = chunked.feed(self._buffer[self._at :])
        self._buffer, self._at = chunked.rest, 0
        if piece:
            self._left += len(piece)
            if self._left > self._body_limit:
                raise _too_large(self._body_limit)
            self._body += piece
        if not chunked.ended:
            return None
        self._chunked = None
        return self._take_body()

    def _take_body(self) -> bytes:
        body = bytes(self._body)
        self._body = bytearray()
        self._left = 0
        return body

    def _check_partial(self, buffer: bytes, start: int) -> None:
        """Refuse a head that can no longer become good, looking only at the bytes that came since the last look."""
        look = start + self._scanned
        if self._scanned and buffer[look - 1] == 13:
            look -= 1
        stop = min(len(buffer), start + self._head_limit + 4)
        piece = buffer[look:stop]
        check_bytes(piece[:-1] if piece.endswith(b"\r") else piece)
        if len(buffer) - start > self._head_limit + 3:
            raise FramingError(431, "head", f"the request's head is longer than {self._head_limit} bytes")
        self._scanned = stop - start


def _too_large(limit: int) -> FramingError:
    return FramingError(413, "body", f"the request's body is longer than the {limit} bytes that this route takes")
