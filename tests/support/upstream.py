"""A stand-in upstream in a thread of its own, for tests that use blocking clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cordon.standin import Received, StandIn


class Upstream:
    """A running stand-in, seen from another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, standin: StandIn) -> None:
        self._loop = loop
        self._standin = standin

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._standin.port}"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._standin.port

    @property
    def received(self) -> list[Received]:
        """The latest requests, the oldest first."""
        return self._standin.received

    def fail_with(self, status: int | None) -> None:
        """Answer every model call with `status` from now on; None: answer as usual."""
        self._standin.status = status

    def release(self) -> None:
        """Let go on what was asked to wait (standin:held, standin:stall)."""
        self._loop.call_soon_threadsafe(self._standin.released.set)


@contextmanager
def upstream(port: int = 0) -> Iterator[Upstream]:
    """A stand-in for the length of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stand-in", daemon=True)
    thread.start()
    standin = StandIn()
    try:
        asyncio.run_coroutine_threadsafe(standin.start(port=port), loop).result(10)
        yield Upstream(loop, standin)
    finally:
        asyncio.run_coroutine_threadsafe(standin.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
