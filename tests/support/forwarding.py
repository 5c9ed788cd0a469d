"""A listener wired to an upstream without anything in between, and what the upstream gets to see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.plain_proxy import PlainProxy
from gateway.budget import Budget
from gateway.listener import Listener
from gateway.settings import Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from tests.support.scripted import OK, Peer, scripted

SECONDS = 5.0


class Forwarding:
    """`seen` holds the requests as they reached the upstream, in order."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: list[bytes] = []

    async def send(self, data: bytes) -> bytes:
        """Send these bytes on a connection of their own, say that no more come, and read what comes back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(SECONDS):
            answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def forwarding() -> AsyncIterator[Forwarding]:
    """Such a wiring for the time of the block."""
    limits = Limits()
    running = Forwarding(0)

    async def keep(peer: Peer) -> None:
        while request := await peer.request():
            running.seen.append(request)
            await peer.say(OK)

    async with scripted(keep) as upstream:
        sweep = Sweep(0.02)
        pool = UpstreamPool(limits, sweep)
        handler = PlainProxy(pool, upstream.endpoint("/base"), limits)
        listener = Listener(handler, limits, sweep, Budget(limits.buffered))
        running.port = await listener.start("127.0.0.1", 0)
        try:
            yield running
        finally:
            await listener.close()
            await pool.close()
            sweep.close()
