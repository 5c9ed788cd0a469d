"""Retention, as the log writer does it: old records are given up by a record, and deleted little by little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from lineage.actions import Stamp, prune_log
from lineage.clock import earliest
from lineage.errors import LineageError
from lineage.ledger import Ledger
from lineage.metrics import Meter

LOOK_SECONDS: Final = 3_600.0
"""How often records that are older than `lineage.records_days` are looked for."""
START_SECONDS: Final = 1.0
PAUSE: Final = 0.05
"""Time in s between two bites."""


class Retention:
    """Works between the commits of one writer. `append` commits a record; `complain` takes a text and an error."""

    def __init__(
        self,
        ledger: Ledger,
        days: float | None,
        boot: str,
        meter: Meter,
        append: Callable[[dict[str, object]], None],
        complain: Callable[[str, object], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ledger = ledger
        self._days = days
        self._boot = boot
        self._append = append
        self._complain = complain
        self._pruned = meter.gauge("cordon_log_pruned_records")
        self._bite: asyncio.TimerHandle | None = None
        self._look = self._loop.call_later(START_SECONDS, self._retire)

    def close(self) -> None:
        """Stop; the next writer goes on."""
        self._look.cancel()
        if self._bite is not None:
            self._bite.cancel()

    def plan(self) -> None:
        """Delete what was given up and a checkpoint covers, soon."""
        if self._bite is None:
            self._bite = self._loop.call_later(PAUSE, self._prune)

    def _retire(self) -> None:
        """Give up the records that are older than they are to be kept: that is a record of its own, then they go."""
        self._look = self._loop.call_later(LOOK_SECONDS, self._retire)
        try:
            if self._days is not None and self._ledger.elected:
                self._give_up(self._days)
        except LineageError as error:
            self._complain("old records could not be given up: %s", error)
        self.plan()

    def _give_up(self, days: float) -> None:
        cut = self._ledger.first_since(earliest() - int(days * 86_400_000))
        before = min(cut, self._ledger.checkpointed)
        control = self._ledger.control
        if before > control.pruned:
            reason = f"older than lineage.records_days ({days:g})"
            stamp = Stamp.now(self._boot)
            self._append(prune_log(stamp, control, before=before, by="lineage", reason=reason))

    def _prune(self) -> None:
        """Delete some of what was given up."""
        self._bite = None
        try:
            if self._ledger.prune():
                self.plan()
            if self._ledger.untidy:
                self._ledger.tidy()
        except LineageError as error:
            self._complain("old records could not be deleted: %s", error)
        self._pruned.set(self._ledger.control.pruned)
