"""The line between the supervisor and each of its processes: a socket pair, one JSON object a line.

    supervisor → process   {"config": {…}}    at the start, and again whenever the configuration was read anew
    process → supervisor   {"beat": 1}        every second, from the event loop: a stuck loop does not beat
                           {"ready": {…}}     it works now; with what others need to know, such as a port
                           {"failed": "…"}    it cannot start, in one sentence for people

Configuration travels here rather than by file, so that a process that is restarted never meets a file which the
supervisor has refused. The end of the line means that the supervisor is gone: the process ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

import orjson

LONGEST_LINE: Final = 8 * 1_048_576
BEAT_SECONDS: Final = 1.0
DESCRIPTOR: Final = "CORDON_CHANNEL"
"""Environment variable that names the inherited descriptor."""


class Channel:
    """One end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """The channel over one end of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=end, limit=LONGEST_LINE))

    @classmethod
    async def inherited(cls) -> Channel:
        """A process's own end, from the descriptor that it was started with."""
        return await cls.over(socket.socket(fileno=int(os.environ.pop(DESCRIPTOR))))

    def send(self, **message: object) -> None:
        """Send one message; nothing happens where the other side is gone."""
        if not self._writer.is_closing():
            self._writer.write(orjson.dumps(message) + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the other side sends, until it is gone."""
        while True:
            try:
                line = await self._reader.readline()
            except (ConnectionError, ValueError):
                return
            if not line.endswith(b"\n"):
                return
            yield orjson.loads(line)

    async def flush(self) -> None:
        """Wait until what was sent is on its way."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def close(self) -> None:
        """End the line."""
        self._writer.close()
