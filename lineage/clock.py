"""Time limits that stay right when the machine's wall clock is set forwards or backwards.

A process has two clocks: the wall clock, which somebody or something may set, and one that only runs. Where a limit is
a length of time (a containment), the one that runs measures it. Where it is a date (a key's expiry), the clock that
says the later time counts: a clock that is set back revives nothing that has expired.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from lineage.control import Containment, ControlState


def wall() -> int:
    """The wall clock, in ms since the epoch."""
    return time.time_ns() // 1_000_000


def running() -> int:
    """The clock that only runs, in ms since some moment; where the system has such a clock, also while it sleeps."""
    return time.clock_gettime_ns(_RUNNING) // 1_000_000


_RUNNING: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BEGAN: Final = wall() - running()


def latest() -> int:
    """The time that dates of expiry are compared with, in ms since the epoch: a clock set back does not set it back."""
    return max(wall(), _BEGAN + running())


def earliest() -> int:
    """The time that ages are reckoned from, in ms since the epoch: a clock that is set forwards makes nothing old."""
    return min(wall(), _BEGAN + running())


class Terms:
    """How long each containment of a control state is still in force, by the clock that only runs.

    What is in the state at the beginning has the rest of its time by the wall clock, its whole length at most. What is
    added later began just now, whatever the clock of the machine that applied it says.
    """

    def __init__(
        self, state: ControlState, wall: Callable[[], int] = wall, running: Callable[[], int] = running
    ) -> None:
        self._running = running
        now, ahead = running(), wall()
        self._ends = {
            held: now + min(held.until - ahead, held.until - held.since) for held in state.containments.values()
        }

    def take_up(self, state: ControlState) -> None:
        """The state is another one now."""
        now, before = self._running(), self._ends
        self._ends = {held: before.get(held, now + held.until - held.since) for held in state.containments.values()}

    def in_force(self, containment: Containment) -> bool:
        """Whether a containment of the state has time left."""
        return self._ends[containment] > self._running()

    def over(self) -> list[str]:
        """The ids of the state's containments whose time is over."""
        now = self._running()
        return [held.id for held, end in self._ends.items() if end <= now]
