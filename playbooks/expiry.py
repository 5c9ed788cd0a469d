"""Says in the log that a containment's time is over.

The workers do not wait for it: for them a containment ends by itself, by the same rule (`lineage.clock`). The record is
for whoever reads the log, and takes the containment out of the control state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from detectors.outbox import Log
from lineage.actions import Stamp, expire_containment
from lineage.clock import Terms, running, wall
from lineage.control import ControlState
from lineage.errors import LogUnavailable
from lineage.record import encode

LOOK_SECONDS = 0.5
"""How often the control state, which is in memory, is looked at."""


class Watched:
    """The containments as this process has seen them come since it began, also while another machine ran the SOC.

    Whoever takes over has measured their time then, and does not have to believe its wall clock, which may be ahead.
    """

    def __init__(self, wall: Callable[[], int] = wall, running: Callable[[], int] = running) -> None:
        self._clocks = (wall, running)
        self._terms: Terms | None = None
        self.state = ControlState()

    def take_up(self, state: ControlState) -> None:
        """The state is this one now. Of the first one the rest of each containment's time is told by the wall clock."""
        if self._terms is None:
            self._terms = Terms(state, *self._clocks)
        else:
            self._terms.take_up(state)
        self.state = state

    def over(self) -> list[str]:
        """The ids of the containments whose time is over."""
        return [] if self._terms is None else self._terms.over()


async def expire(log: Log, watched: Watched, boot: str, stop: asyncio.Event) -> None:
    """Write `containment.expired` for each containment whose time is over, until `stop`."""
    while not stop.is_set():
        stamp, known = Stamp.now(boot), watched.state.containments
        records = [encode(expire_containment(stamp, containment=name, known=known)) for name in watched.over()]
        results = await asyncio.gather(*map(log.append, records), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, LogUnavailable):
                raise result
        try:
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
        except TimeoutError:
            continue
