"""An upstream's answer as a coroutine reads it: the head, then pieces, with back-pressure on the upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.errors import UpstreamError
from gateway.upstream import UpstreamCall

HIGH_WATER = 262_144
Headers = Sequence[tuple[bytes, bytes]]


class AnswerStream:
    """The sink of one upstream call. Pieces that wait are bounded: over `HIGH_WATER` bytes the upstream is paused."""

    def __init__(self) -> None:
        self.upstream: UpstreamCall | None = None
        self._status = 0
        self._headers: Headers = ()
        self._pieces: list[bytes] = []
        self._held = 0
        self._paused = False
        self._ended = False
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def head(self) -> tuple[int, Headers]:
        """Status and headers of the answer; raises UpstreamError where none comes."""
        while not self._status:
            if self._error is not None:
                raise self._error
            await self._wait()
        return self._status, self._headers

    async def read(self) -> bytes | None:
        """Everything that has come since the last read, or None after the answer's proper end; raises UpstreamError."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            await self._wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._paused and self.upstream is not None:
            self._paused = False
            self.upstream.resume()
        return data

    async def read_all(self, limit: int) -> bytes | None:
        """All that is left of the answer, or None where that is more than `limit` bytes; raises UpstreamError."""
        pieces: list[bytes] = []
        size = 0
        while (piece := await self.read()) is not None:
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                return None
        return b"".join(pieces)

    def at_end(self) -> bool:
        """Whether the answer has ended properly and everything of it was read."""
        return self._ended and not self._pieces

    def abandon(self) -> None:
        """Nobody reads on: the upstream call is cut unless it is over."""
        if self._error is not None:
            # The steps that it was raised through have this stream among their names.
            self._error.__traceback__ = None
        elif self.upstream is not None and not self._ended:
            self.upstream.abort()

    def on_answer_head(self, status: int, headers: Headers) -> None:
        """The answer's head is there."""
        self._status, self._headers = status, headers
        self._wake()

    def on_answer_data(self, data: bytes) -> None:
        """A piece of the answer's body is there."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held > HIGH_WATER and not self._paused and self.upstream is not None:
            self._paused = True
            self.upstream.pause()
        self._wake()

    def on_answer_end(self) -> None:
        """The answer is complete."""
        self._ended = True
        self._wake()

    def on_answer_error(self, error: UpstreamError) -> None:
        """The answer will not be complete."""
        self._error = error
        self._wake()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
