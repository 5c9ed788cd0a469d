"""Says in the log that a containment's time is over.

The workers do not wait for it: for them a containment ends by itself, by the same rule (`lineage.clock`). The record is
for whoever reads the log, and takes the containment out of the control state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from detectors.outbox import Log
from lineage.actions import Stamp, expire_containment
from lineage.clock import Terms
from lineage.control import ControlState
from lineage.errors import LogUnavailable
from lineage.record import encode

LOOK_SECONDS = 0.5
"""How often the control state, which is in memory, is looked at."""


async def expire(log: Log, control: Callable[[], ControlState], boot: str, stop: asyncio.Event) -> None:
    """Write `containment.expired` for each containment whose time is over, until `stop`."""
    state = control()
    terms = Terms(state)
    while not stop.is_set():
        if control() is not state:
            state = control()
            terms.take_up(state)
        stamp = Stamp.now(boot)
        records = [
            encode(expire_containment(stamp, containment=name, known=state.containments)) for name in terms.over()
        ]
        results = await asyncio.gather(*map(log.append, records), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, LogUnavailable):
                raise result
        try:
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
        except TimeoutError:
            continue
