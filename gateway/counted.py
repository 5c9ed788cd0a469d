"""Refusals that are counted, and recorded now and then, so that a flood of them cannot fill the log.

A call without an identity is always counted. Of a known caller's refusals each has a record of its own, until there
are more for one reason within an interval than anybody would read one by one; what is over that is counted.
"""

from __future__ import annotations

import time
from typing import Final

from gateway.errors import Refusal
from gateway.records import Facts, refused_known, refused_unknown

MOST_SOURCES: Final = 1_000
OTHERS: Final = "others"
SINGLE: Final = 100
"""Refusals of one caller for one reason that have a record each, in one interval."""

Record = dict[str, object]


class UnknownCallers:
    """Counts since the last `drain`; beyond `MOST_SOURCES` pairs of source and reason they are counted together."""

    def __init__(self, boot: str) -> None:
        self._boot = boot
        self._counts: dict[tuple[str, str], int] = {}
        self._since = time.monotonic()

    def count(self, source: str, reason: str) -> None:
        """One more refused call from the address `source` for `reason` (a code)."""
        pair = (source, reason)
        if pair not in self._counts and len(self._counts) >= MOST_SOURCES:
            pair = (OTHERS, reason)
        self._counts[pair] = self._counts.get(pair, 0) + 1

    def drain(self) -> list[Record]:
        """One record for each pair counted since the last time."""
        now = time.monotonic()
        interval = int((now - self._since) * 1000)
        counts, self._counts, self._since = self._counts, {}, now
        return [
            refused_unknown(self._boot, source, reason, count, interval) for (source, reason), count in counts.items()
        ]


class KnownCallers:
    """The refusals of known callers since the last `drain`, by key and reason (a code); there are as many as keys."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], tuple[int, Facts, Refusal]] = {}
        self._since = time.monotonic()

    def is_single(self, facts: Facts, refusal: Refusal) -> bool:
        """Take a refusal in; whether it is to have a record of its own. `facts` has a principal."""
        assert facts.principal is not None
        pair = (facts.principal.key, refusal.code)
        count, first, _ = self._counts.get(pair, (0, facts, refusal))
        self._counts[pair] = (count + 1, first, refusal)
        return count < SINGLE

    def drain(self) -> list[Record]:
        """One record for each key and reason with refusals beyond `SINGLE` since the last time."""
        now = time.monotonic()
        interval = int((now - self._since) * 1000)
        counts, self._counts, self._since = self._counts, {}, now
        return [
            refused_known(facts, refusal.stage, refusal.status, refusal.code, count - SINGLE, interval)
            for count, facts, refusal in counts.values()
            if count > SINGLE
        ]
