"""Chunked transfer coding, read strictly (RFC 9112 §7.1), with any cut of the bytes into pieces."""

from __future__ import annotations

import re

from gateway.errors import FramingError
from gateway.fields import HEX_DIGITS

_SIZE_LINE = 256
_EXTENSIONS = 4_096
_TRAILERS = 8_192
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_EXTENSION = re.compile(
    rb"(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb'|"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"))?)+'
)


class ChunkedReader:
    """One chunked body. `feed` returns the content in the bytes given; `rest` holds what follows the end, once there.

    Chunk extensions of the right form are read over, within a bound. Trailers are refused, or read over within a bound
    when `trailers` allows it; they never reach anybody.
    """

    __slots__ = ("_carry", "_closing", "_extensions", "_left", "_trailers", "_trailing", "ended", "rest")

    def __init__(self, *, trailers: bool) -> None:
        self._trailers = trailers
        self._carry = b""
        self._left = 0
        self._closing = False
        self._trailing: int | None = None
        self._extensions = 0
        self.ended = False
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """Content bytes among `data`. Raises FramingError (400)."""
        if self._carry:
            data = self._carry + data
            self._carry = b""
        position = 0
        size = len(data)
        pieces: list[bytes] = []
        while position < size and not self.ended:
            left = self._left
            if left:
                piece = data[position : position + left]
                pieces.append(piece)
                position += len(piece)
                self._left = left - len(piece)
                self._closing = not self._left
                continue
            if self._closing:
                advanced = self._close(data, position)
            elif self._trailing is None:
                advanced = self._size(data, position)
            else:
                advanced = self._trailer(data, position)
            if advanced is None:
                self._carry = data[position:]
                break
            position = advanced
        if self.ended:
            self.rest = data[position:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _close(self, data: bytes, start: int) -> int | None:
        """Read the line end after a chunk; None: more bytes are needed."""
        closing = data[start : start + 2]
        if closing == b"\r\n":
            self._closing = False
            return start + 2
        if closing == b"\r":
            return None
        raise FramingError(400, "chunk_end", "a chunk is not followed by CRLF")

    def _size(self, data: bytes, start: int) -> int | None:
        """Read a size line; None: more bytes are needed."""
        end = data.find(b"\n", start, start + _SIZE_LINE)
        if end < 0:
            self._check_unfinished(data[start : start + _SIZE_LINE])
            return None
        line = data[start:end]
        if line[-1:] != b"\r":
            raise FramingError(400, "chunk_size", "a chunk's size line does not end in CRLF")
        self._left = self._parse_size(line[:-1])
        if not self._left:
            self._trailing = 0
        return end + 1

    def _parse_size(self, line: bytes) -> int:
        if line.translate(None, HEX_DIGITS):
            digits, mark, _ = line.partition(b";")
            self._extensions += len(line)
            if not mark or not _EXTENSION.fullmatch(line, len(digits)) or self._extensions > _EXTENSIONS:
                raise FramingError(400, "chunk_size", "a chunk's size line is malformed or its extensions are too long")
            line = digits
        if not 0 < len(line) <= 15 or line.translate(None, HEX_DIGITS):
            raise FramingError(400, "chunk_size", "a chunk's size is not a hexadecimal number")
        return int(line, 16)

    @staticmethod
    def _check_unfinished(line: bytes) -> None:
        """Refuse as soon as the line can no longer become good, so that nobody waits for its end."""
        if len(line) >= _SIZE_LINE or b"\r" in line[:-1] or (line and line[0] not in HEX_DIGITS):
            raise FramingError(400, "chunk_size", "a chunk's size line is malformed or too long")

    def _trailer(self, data: bytes, start: int) -> int | None:
        """Read the line after the last chunk: an empty one ends the body, any other is a trailer."""
        assert self._trailing is not None
        if not self._trailers:
            closing = data[start : start + 2]
            if closing == b"\r\n":
                self.ended = True
                return start + 2
            if closing == b"\r":
                return None
            raise FramingError(400, "trailers", "a chunked body has trailers; send these fields as headers")
        end = data.find(b"\r\n", start)
        if self._trailing + (end if end >= 0 else len(data) - 1) - start > _TRAILERS:
            raise FramingError(400, "trailers", "the trailers after a chunked body are too long")
        if end < 0:
            return None
        if end == start:
            self.ended = True
        self._trailing += end + 2 - start
        return end + 2
