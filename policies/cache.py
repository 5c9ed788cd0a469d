"""Decisions that are remembered: bounded in bytes, and what is asked for again outlasts what was asked for once.

A segmented LRU. A new entry is on probation; the first hit makes it a regular. Room is made from the oldest on
probation, so a flood of calls that are never alike pushes out only its own. When regulars hold more than their share,
the oldest of them is on probation again. Each step costs the same however much is remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from lineage.metrics import Meter, Tally

Value = TypeVar("Value")

REGULARS: Final = 0.8
"""Share of the bytes that regulars may hold."""


@dataclass(frozen=True, slots=True)
class Tallies:
    """Where caches of one kind count what they hold; several caches may share them."""

    entries: Tally = field(default_factory=Tally)
    bytes: Tally = field(default_factory=Tally)
    evicted: Tally = field(default_factory=Tally)

    @classmethod
    def of(cls, meter: Meter, entry: str) -> Tallies:
        """The tallies of the entry point `entry` (request, answer) in a process's metrics."""
        return cls(
            meter.gauge("cordon_policy_cache_entries", entry),
            meter.gauge("cordon_policy_cache_bytes", entry),
            meter.counter("cordon_policy_cache_evictions_total", entry),
        )


class Cache(Generic[Value]):
    """Values by the exact bytes that they are a function of. `limit`: bytes of all entries, as callers count them.

    Keys are compared byte by byte, never by what they mean: two documents that say the same in other bytes are two.
    """

    __slots__ = ("_bytes", "_limit", "_probation", "_regular_bytes", "_regulars", "_tallies")

    def __init__(self, limit: int, tallies: Tallies | None = None) -> None:
        self._limit = limit
        self._tallies = tallies or Tallies()
        self._probation: OrderedDict[bytes, tuple[Value, int]] = OrderedDict()
        self._regulars: OrderedDict[bytes, tuple[Value, int]] = OrderedDict()
        self._bytes = self._regular_bytes = 0

    def __len__(self) -> int:
        return len(self._probation) + len(self._regulars)

    def __contains__(self, key: bytes) -> bool:
        """Whether there is something remembered for `key`; to ask this is not to use it."""
        return key in self._regulars or key in self._probation

    @property
    def held(self) -> int:
        """The sizes of all entries together."""
        return self._bytes

    def get(self, key: bytes) -> Value | None:
        """What is remembered for `key`."""
        found = self._regulars.get(key)
        if found is not None:
            self._regulars.move_to_end(key)
            return found[0]
        found = self._probation.pop(key, None)
        if found is None:
            return None
        self._regulars[key] = found
        self._regular_bytes += found[1]
        while self._regular_bytes > self._limit * REGULARS:
            old, entry = self._regulars.popitem(last=False)
            self._regular_bytes -= entry[1]
            self._probation[old] = entry
        return found[0]

    def put(self, key: bytes, value: Value, size: int) -> None:
        """Remember a value of `size` bytes, key included, that `get` did not find; nothing larger than `limit`."""
        if size > self._limit or key in self._probation or key in self._regulars:
            return
        self._probation[key] = (value, size)
        self._hold(1, size)
        while self._bytes > self._limit:  # regulars hold less, so there is something on probation
            _, entry = self._probation.popitem(last=False)
            self._hold(-1, -entry[1])
            self._tallies.evicted.value += 1

    def close(self) -> None:
        """Forget everything, and remember nothing any more: who still asks is of a bundle that was replaced."""
        self._hold(-len(self), -self._bytes)
        self._limit = -1
        self._probation.clear()
        self._regulars.clear()
        self._regular_bytes = 0

    def _hold(self, entries: int, size: int) -> None:
        self._bytes += size
        self._tallies.entries.value += entries
        self._tallies.bytes.value += size
