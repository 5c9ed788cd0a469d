"""One coarse clock for all of a worker's timeouts.

A timer of its own for every read of every connection would cost more than the read. Instead each connection carries a
deadline, and a sweep looks at all of them a few times a second; a timeout is late by at most one interval.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

NEVER = float("inf")


class Timed(Protocol):
    """Something with a deadline, in seconds of the loop's clock; NEVER when it has none at the moment."""

    deadline: float

    def on_deadline(self) -> None:
        """The deadline has passed; called once a sweep until it is moved or the item is forgotten."""
        ...


class Sweep:
    """Looks every `interval` seconds at the deadlines of what it watches. `now` is the clock as of the last look."""

    def __init__(self, interval: float = 0.25) -> None:
        self.interval = interval
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time()
        self._items: set[Timed] = set()
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(interval, self._look)

    def __len__(self) -> int:
        return len(self._items)

    def after(self, seconds: float) -> float:
        """A deadline this far ahead; never early, since the clock as of the last look may be one interval old."""
        return self.now + self.interval + seconds

    def watch(self, item: Timed) -> None:
        """Look at this item's deadline from now on."""
        self._items.add(item)

    def forget(self, item: Timed) -> None:
        """Look at it no more; harmless when it was not watched."""
        self._items.discard(item)

    def close(self) -> None:
        """Stop; nothing times out any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self.now = self._loop.time()
        self._timer = self._loop.call_later(self.interval, self._look)
        for item in [item for item in self._items if item.deadline <= now]:
            item.on_deadline()
