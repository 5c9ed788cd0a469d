"""The log as the control plane's threads use it: append a record, wait until it is durable, or be told no.

Route handlers run in threads, the log's client in the event loop; this is the bridge between the two.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import CancelledError
from typing import Final, Protocol

from lineage.actions import Record, Stamp
from lineage.control import ControlState
from lineage.errors import LogUnavailable
from lineage.reader import LogReader
from lineage.record import encode

LONGEST_WAIT_SECONDS: Final = 4.0
"""Less than writers of the state database wait for each other, since a change holds its lock meanwhile."""


class Client(Protocol):
    """The part of `lineage.client.LogClient` that is used here."""

    @property
    def control(self) -> ControlState:
        """Keys and containments as of the last commit that this process knows of."""

    @property
    def connected(self) -> bool:
        """Whether appends can be taken now."""

    def append(self, record: bytes) -> asyncio.Future[int]:
        """The record's index, once it is durable."""


class Journal:
    """Appends from threads; `boot` is the id of this process's life, which every record carries."""

    def __init__(self, client: Client, reader: LogReader, loop: asyncio.AbstractEventLoop, boot: str) -> None:
        self._client = client
        self._reader = reader
        self._loop = loop
        self.boot = boot

    @property
    def writable(self) -> bool:
        """Whether the log can take records now."""
        return self._client.connected

    @property
    def control(self) -> ControlState:
        """Keys and containments as of the last commit; read from the log itself while its writer is away."""
        return self._client.control if self._client.connected else self._reader.control()

    def stamp(self) -> Stamp:
        """Now, in this life of this process."""
        return Stamp(time.time_ns() // 1_000_000, self.boot)

    def append(self, record: Record) -> int:
        """The record's index once it is durable; `LogUnavailable` if it is not within some seconds.

        It blocks: never call it in the event loop's own thread.
        """
        data = encode(record)
        waiting = asyncio.run_coroutine_threadsafe(self._append(data), self._loop)
        try:
            return waiting.result(LONGEST_WAIT_SECONDS)
        except (TimeoutError, CancelledError) as error:
            waiting.cancel()
            raise LogUnavailable("the log did not confirm the record in time; try again") from error

    async def _append(self, data: bytes) -> int:
        return await self._client.append(data)
