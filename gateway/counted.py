"""Refusals that are counted, and recorded now and then, so that a flood of them cannot fill the log.

A call without an identity is always counted. Of a known caller's refusals each has a record of its own, until there
are more for one reason within an interval than anybody would read one by one; what is over that is counted.

What the log did not take is counted on, so that it is in the next record. Where the log took it and could not say so
any more, it is counted twice: rather that than not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from gateway.errors import Refusal
from gateway.records import Facts, refused_known, refused_unknown

MOST_SOURCES: Final = 1_000
OTHERS: Final = "others"
SINGLE: Final = 100
"""Refusals of one caller for one reason that have a record each, in one interval."""

Record = dict[str, object]


class Counted(NamedTuple):
    """A record of a sum, and what is to be called where the log does not take it."""

    record: Record
    give_back: Callable[[], None]


class UnknownCallers:
    """Counts since the last `drain`; beyond `MOST_SOURCES` pairs of source and reason they are counted together."""

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._counts: dict[tuple[str, str], int] = {}
        self._since = time.monotonic()

    def count(self, source: str, reason: str) -> None:
        """One more refused call from the address `source` for `reason` (a code)."""
        self._add((source, reason), 1)

    def drain(self) -> list[Counted]:
        """One record for each pair counted since the last time."""
        now, since = time.monotonic(), self._since
        interval = int((now - since) * 1000)
        counts, self._counts, self._since = self._counts, {}, now
        return [
            Counted(refused_unknown(self._boot, *pair, count, interval), partial(self._give_back, pair, count, since))
            for pair, count in counts.items()
        ]

    def _add(self, pair: tuple[str, str], count: int) -> None:
        if pair not in self._counts and len(self._counts) >= MOST_SOURCES:
            pair = (OTHERS, pair[1])
        self._counts[pair] = self._counts.get(pair, 0) + count

    def _give_back(self, pair: tuple[str, str], count: int, since: float) -> None:
        self._add(pair, count)
        self._since = min(self._since, since)


class _Sum(NamedTuple):
    """Refusals of one caller for one reason: how many, and of the last of them what is recorded."""

    times: int
    facts: Facts
    stage: str
    status: int


class KnownCallers:
    """The refusals of known callers since the last `drain`, by key and reason (a code); there are as many as keys.

    No refusal itself is kept: it knows where it was raised, and so the whole call with its content.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], _Sum] = {}
        self._owed: dict[tuple[str, str], _Sum] = {}
        self._since = time.monotonic()

    def is_single(self, facts: Facts, refusal: Refusal) -> bool:
        """Take a refusal in; whether it is to have a record of its own. `facts` has a principal."""
        assert facts.principal is not None
        pair = (facts.principal.key, refusal.code)
        known = self._sums.get(pair)
        count, first = (0, facts) if known is None else (known.times, known.facts)
        self._sums[pair] = _Sum(count + 1, first, refusal.stage, refusal.status)
        return count < SINGLE

    def drain(self) -> list[Counted]:
        """One record for each key and reason with refusals beyond `SINGLE` since the last time."""
        now, since = time.monotonic(), self._since
        interval = int((now - since) * 1000)
        owed, self._owed = self._owed, {}
        sums, self._sums, self._since = self._sums, {}, now
        for pair, one in sums.items():
            if one.times > SINGLE:
                before = owed[pair].times if pair in owed else 0
                owed[pair] = one._replace(times=before + one.times - SINGLE)
        return [
            Counted(
                refused_known(one.facts, one.stage, one.status, pair[1], one.times, interval),
                partial(self._give_back, pair, one, since),
            )
            for pair, one in owed.items()
        ]

    def _give_back(self, pair: tuple[str, str], lost: _Sum, since: float) -> None:
        owed = self._owed.get(pair)
        self._owed[pair] = lost._replace(times=lost.times + (0 if owed is None else owed.times))
        self._since = min(self._since, since)
