"""Content codings (RFC 9110 §8.4): gzip, deflate, br and zstd, decoded piece by piece within limits."""

from __future__ import annotations

import zlib
from typing import Protocol

import brotli
import zstandard

from gateway.content.errors import ContentError

CODINGS = ("identity", "gzip", "deflate", "br", "zstd")
"""What is decoded; anything else, and more than one coding at once, is refused."""

_SLACK = 65_536
_ZSTD_WINDOW = 8 << 20


class Decoder(Protocol):
    """Takes coded bytes, gives plain ones."""

    def feed(self, data: bytes) -> bytes:
        """Plain bytes of the next piece; ContentError when the piece is broken or too much comes out."""
        ...

    def end(self) -> bytes:
        """The rest; ContentError when the coded content is not complete."""
        ...


def decoder(content_encoding: str, *, limit: int, ratio: int) -> Decoder:
    """The decoder for a Content-Encoding field value; `limit` in plain bytes, `ratio` plain to coded bytes."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return _Identity(limit)
    if coding in ("gzip", "x-gzip"):
        return _Bounded(_Zlib(31), limit, ratio)
    if coding == "deflate":
        return _Bounded(_Deflate(), limit, ratio)
    if coding == "br":
        return _Bounded(_Brotli(), limit, ratio)
    if coding == "zstd":
        return _Bounded(_Zstd(), limit, ratio)
    raise ContentError("encoding", f"Content-Encoding must be one of {', '.join(CODINGS)}, applied once")


def decode(content_encoding: str, body: bytes, *, limit: int, ratio: int) -> bytes:
    """A whole body in plain bytes; ContentError."""
    if not content_encoding and len(body) <= limit:
        return body
    machine = decoder(content_encoding, limit=limit, ratio=ratio)
    return machine.feed(body) + machine.end()


class _Identity:
    def __init__(self, limit: int) -> None:
        self._left = limit

    def feed(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ContentError("too_large", "the body is over its size limit")
        return data

    def end(self) -> bytes:
        return b""


class _Codec(Protocol):
    done: bool

    def decode(self, data: bytes, room: int) -> tuple[bytes, bool]: ...


class _Bounded:
    """Never lets more than one step beyond the limits come into being."""

    def __init__(self, codec: _Codec, limit: int, ratio: int) -> None:
        self._codec = codec
        self._limit = limit
        self._ratio = ratio
        self._read = 0
        self._made = 0

    def feed(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._codec.done:
            raise ContentError("encoding", "there are bytes after the end of the compressed body")
        self._read += len(data)
        parts: list[bytes] = []
        more = True
        while more:
            allowed = min(self._limit, self._read * self._ratio + _SLACK)
            try:
                part, more = self._codec.decode(data, allowed - self._made + 1)
            except (zlib.error, brotli.error, zstandard.ZstdError) as error:
                raise ContentError("encoding", "the compressed body is broken") from error
            data = b""
            self._made += len(part)
            if self._made > allowed:
                raise ContentError("too_large", "the decompressed body is over its size limit or grows too much")
            parts.append(part)
        return b"".join(parts)

    def end(self) -> bytes:
        if self._read and not self._codec.done:
            raise ContentError("truncated", "the compressed body ends early")
        return b""


class _Zlib:
    done = False

    def __init__(self, window: int) -> None:
        self._machine = zlib.decompressobj(window)

    def decode(self, data: bytes, room: int) -> tuple[bytes, bool]:
        plain = self._machine.decompress(self._machine.unconsumed_tail + data, room)
        self.done = self._machine.eof
        if self._machine.unused_data:
            raise ContentError("encoding", "there are bytes after the end of the compressed body")
        return plain, bool(self._machine.unconsumed_tail) and not self.done


class _Deflate:
    """zlib format (RFC 1950), or raw deflate as some servers send it; the first two bytes tell."""

    done = False

    def __init__(self) -> None:
        self._codec: _Zlib | None = None
        self._head = b""

    def decode(self, data: bytes, room: int) -> tuple[bytes, bool]:
        if self._codec is None:
            self._head += data
            if len(self._head) < 2:
                return b"", False
            wrapped = self._head[0] & 0x0F == 8 and int.from_bytes(self._head[:2], "big") % 31 == 0
            self._codec, data, self._head = _Zlib(15 if wrapped else -15), self._head, b""
        plain, more = self._codec.decode(data, room)
        self.done = self._codec.done
        return plain, more


class _Brotli:
    done = False

    def __init__(self) -> None:
        self._machine = brotli.Decompressor()

    def decode(self, data: bytes, room: int) -> tuple[bytes, bool]:
        plain = self._machine.process(data, output_buffer_limit=max(room, 1))
        self.done = self._machine.is_finished()
        return plain, not self._machine.can_accept_more_data() and not self.done


class _Zstd:
    """One frame (RFC 8878) with a window of at most 8 MB, as RFC 9659 demands for HTTP.

    The library gives all of a piece's output at once, so it is fed in small steps: a step of 64 coded bytes cannot
    make more than a few blocks of 128 KB.
    """

    done = False
    _STEP = 64

    def __init__(self) -> None:
        self._machine = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._waiting = b""

    def decode(self, data: bytes, room: int) -> tuple[bytes, bool]:
        self._waiting += data
        parts: list[bytes] = []
        made = 0
        position = 0
        while position < len(self._waiting) and made <= room:
            if self.done:
                raise ContentError("encoding", "there are bytes after the end of the compressed body")
            plain = self._machine.decompress(self._waiting[position : position + self._STEP])
            position += self._STEP
            self.done = self._machine.eof
            if self._machine.unused_data:
                raise ContentError("encoding", "there are bytes after the end of the compressed body")
            made += len(plain)
            parts.append(plain)
        self._waiting = self._waiting[position:]
        return b"".join(parts), bool(self._waiting)
