"""Calls without an identity are counted, and recorded now and then, so that a flood cannot fill the log."""

from __future__ import annotations

import time

from gateway.records import refused_unknown

MOST_SOURCES = 1_000
OTHERS = "others"


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

    def drain(self) -> list[dict[str, object]]:
        """One record for each pair counted since the last time."""
        now = time.monotonic()
        interval = int((now - self._since) * 1000)
        counts, self._counts, self._since = self._counts, {}, now
        return [
            refused_unknown(self._boot, source, reason, count, interval) for (source, reason), count in counts.items()
        ]
