"""A server that is further away than loopback: what it says arrives later, however much of it is on its way at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _End(asyncio.Protocol):
    """One end of a relayed connection; what comes in goes out at the other end after a delay in s."""

    def __init__(self, delay: float, other: _End | None = None) -> None:
        self.delay = delay
        self.other = other
        self.transport: asyncio.Transport | None = None
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        for data in self.early:
            transport.write(data)

    def data_received(self, data: bytes) -> None:
        asyncio.get_running_loop().call_later(self.delay, self._hand_over, data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def _hand_over(self, data: bytes) -> None:
        assert self.other is not None
        if self.other.transport is None:
            self.other.early.append(data)
        else:
            self.other.transport.write(data)


@contextmanager
def at_a_distance(port: int, delay: float) -> Iterator[int]:
    """The port of a relay to a port of loopback whose answers take `delay` s more."""
    loop = asyncio.new_event_loop()
    connecting: set[asyncio.Task[object]] = set()

    def accepted() -> _End:
        near = _End(0.0)
        far = _End(delay, near)
        near.other = far
        connecting.add(loop.create_task(loop.create_connection(lambda: far, "127.0.0.1", port)))
        return near

    server = loop.run_until_complete(loop.create_server(accepted, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
