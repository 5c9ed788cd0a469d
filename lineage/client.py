"""The log's client for processes with an event loop: gateway workers, the SOC process, the control server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from lineage import control, wire
from lineage.control import ControlState
from lineage.errors import LineageError, LogUnavailable, RecordError
from lineage.record import MAX_BYTES, decode

log = logging.getLogger("cordon.lineage.client")

PATIENCE: Final = 10.0
"""Longest time in s that an append waits for its acknowledgement before the writer is given up."""
MAX_PENDING: Final = 65_536
"""Most appends of one client without an answer; over it an append fails at once."""
MAX_UNSENT_BYTES: Final = 64 * 1_048_576
"""Appends of one client that the writer has not read; over it an append fails at once."""
_RETRY: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


class _Link(asyncio.Protocol):
    """One connection of a client. A client has one at a time; what an older one still says is not heard."""

    def __init__(self, client: LogClient, flags: int) -> None:
        self._client = client
        self._flags = flags
        self._decoder = wire.Decoder(wire.MAX_TO_CLIENT)
        self.transport: asyncio.Transport | None = None
        self.welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with HELLO."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(wire.hello(self._flags))

    def data_received(self, data: bytes) -> None:
        """Act on each complete frame, in order."""
        try:
            for kind, payload in self._decoder.feed(data):
                self._client._hear(self, kind, payload)
        except LineageError as error:
            log.error("the log writer does not speak the protocol: %s", error)
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The writer is gone, or was left."""
        self.transport = None
        if not self.welcomed.done():
            self.welcomed.set_exception(ConnectionResetError("closed"))
        self._client._lost(self)

    def abort(self) -> None:
        """Leave the writer at once."""
        if self.transport is not None:
            self.transport.abort()


class LogClient:
    """A connection to the log writer that comes back by itself.

    `control` is the control state; it is changed, and `on_control` called, before an append of the same or a later
    commit resolves. `on_size` is called with the log's size as it grows, coalesced. `connected` says whether appends
    can be taken now, `generation` how many connections there have been.
    """

    def __init__(
        self,
        socket: Path,
        on_control: Callable[[ControlState], None] | None,
        on_size: Callable[[int], None] | None,
        patience: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._on_control = on_control
        self._on_size = on_size
        self._patience = patience
        self._link: _Link | None = None
        self._pending: dict[int, asyncio.Future[int]] = {}
        self._next = 0
        self._outgoing: list[bytes] = []
        self._unsent = 0
        self._watch: asyncio.TimerHandle | None = None
        self._progress = 0.0
        self._reconnecting: asyncio.Task[None] | None = None
        self._closed = False
        self.control = ControlState()
        self.connected = False
        self.generation = 0

    @classmethod
    async def connect(
        cls,
        socket: Path,
        *,
        on_control: Callable[[ControlState], None] | None = None,
        on_size: Callable[[int], None] | None = None,
        patience: float = PATIENCE,
    ) -> LogClient:
        """Connect to the writer at `socket`; LogUnavailable when none answers within `patience` seconds."""
        client = cls(socket, on_control, on_size, patience)
        await client._open()
        return client

    def append(self, record: bytes, *, side: bytes | None = None) -> asyncio.Future[int]:
        """Have a record (from `record.encode`) appended; the result is its index, once it is on the disk.

        Fails with LogUnavailable when the writer is away, refuses it, or does not answer in time, and with RecordError
        when it is too large. After a refusal the record is not in the log; after a loss of the connection it may be.
        Appends of one turn of the event loop leave in one write. `side` is a sealed blob to keep beside the record.
        """
        future = self._loop.create_future()
        if not self.connected:
            future.set_exception(LogUnavailable("the log writer is away"))
        elif len(self._pending) >= MAX_PENDING or self._unsent > MAX_UNSENT_BYTES:
            future.set_exception(LogUnavailable("too many records wait for the log writer"))
        elif not 0 < len(record) <= MAX_BYTES or (side is not None and len(side) > wire.MAX_SIDE):
            future.set_exception(
                RecordError(f"a record has 1 to {MAX_BYTES} bytes, its side blob {wire.MAX_SIDE} at most")
            )
        else:
            if not self._outgoing:
                self._loop.call_soon(self._flush)
            frame = wire.append(record, side)
            self._outgoing.append(frame)
            self._unsent += len(frame)
            if not self._pending:
                self._progress = self._loop.time()
                if self._watch is None:
                    self._watch = self._loop.call_later(self._patience, self._look)
            self._pending[self._next] = future
            self._next += 1
        return future

    def _flush(self) -> None:
        transport = None if self._link is None else self._link.transport
        if transport is not None and self._outgoing:
            transport.write(b"".join(self._outgoing))
            self._unsent = transport.get_write_buffer_size()
        self._outgoing.clear()

    def _look(self) -> None:
        """Give the writer up when it has not answered for too long."""
        self._watch = None
        if not self._pending:
            return
        left = self._progress + self._patience - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look)
        elif self._link is not None:
            log.error("the log writer has not answered for %.0f s", self._patience)
            self._link.abort()

    async def close(self) -> None:
        """Close the connection; appends that wait fail."""
        self._closed = True
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        if self._watch is not None:
            self._watch.cancel()
        self._flush()
        link, self._link = self._link, None
        if link is not None and link.transport is not None:
            link.transport.close()
        self._fail_pending()
        await asyncio.sleep(0)

    async def _open(self) -> None:
        """Connect and be welcomed, or leave nothing behind and raise LogUnavailable."""
        flags = wire.WANTS_CONTROL | (wire.WANTS_SIZE if self._on_size is not None else 0)
        self._link = link = _Link(self, flags)
        try:
            async with asyncio.timeout(self._patience):
                await self._loop.create_unix_connection(lambda: link, str(self._socket))
                await link.welcomed
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            self._link = None
            link.welcomed.cancel()
            link.abort()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise LogUnavailable(f"no log writer answers at {self._socket}; is `cordon up` running?") from error

    async def _reconnect(self) -> None:
        attempt = 0
        while not self._closed:
            await asyncio.sleep(_RETRY[min(attempt, len(_RETRY) - 1)])
            attempt += 1
            with suppress(LogUnavailable):
                await self._open()
                return

    def _hear(self, link: _Link, kind: int, payload: bytes) -> None:
        if link is self._link:
            self._act(kind, payload)

    def _act(self, kind: int, payload: bytes) -> None:
        if kind == wire.ACK:
            sequence, count, index = wire.parse_ack(payload)
            self._progress = self._loop.time()
            for offset in range(count):
                future = self._pending.pop(sequence + offset, None)
                if future is not None and not future.done():
                    future.set_result(index + offset)
        elif kind == wire.CONTROL:
            for index, record in wire.parse_control(payload):
                self.control = self.control.fold(decode(record), index)
            self._controlled()
        elif kind == wire.STATE:
            self.control = control.load(payload)
            self._controlled()
        elif kind == wire.SIZE:
            self._grown(wire.parse_size(payload))
        elif kind == wire.REFUSED:
            sequence, count, reason = wire.parse_refused(payload)
            self._progress = self._loop.time()
            self._fail([self._pending.pop(sequence + offset, None) for offset in range(count)], reason)
        elif kind == wire.WELCOME:
            size, state = wire.parse_welcome(payload)
            self.control = control.load(state)
            self.connected = True
            self.generation += 1
            self._controlled()
            self._grown(size)
            if self._link is not None and not self._link.welcomed.done():
                self._link.welcomed.set_result(None)
        else:
            raise wire.WireError("a frame of an unknown type")

    def _controlled(self) -> None:
        if self._on_control is not None:
            self._on_control(self.control)

    def _grown(self, size: int) -> None:
        if self._on_size is not None:
            self._on_size(size)

    def _lost(self, link: _Link) -> None:
        """Fail what waits and begin to connect again."""
        if link is not self._link:
            return
        self._link = None
        was_connected = self.connected
        self._fail_pending()
        if was_connected and not self._closed:
            self._reconnecting = self._loop.create_task(self._reconnect())

    def _fail_pending(self) -> None:
        self.connected = False
        self._outgoing.clear()
        self._unsent = 0
        pending, self._pending, self._next = self._pending, {}, 0
        self._fail(list(pending.values()), "the connection to the log writer was lost")

    @staticmethod
    def _fail(futures: list[asyncio.Future[int] | None], reason: str) -> None:
        for future in futures:
            if future is not None and not future.done():
                future.set_exception(LogUnavailable(reason))
