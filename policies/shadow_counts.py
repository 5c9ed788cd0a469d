"""What the shadow of each roll-out has counted so far, added up from its records in the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from lineage.reader import LogReader
from lineage.record import decode
from lineage.rollouts import MOST_ROLLOUTS, Rollout

LOOK_BACK: Final = 2_000_000
"""How many of the latest records are looked through at first by whoever goes on looking: a second's work."""
_MOST_CALLS: Final = 10
_MOST_FOUND: Final = 4 * MOST_ROLLOUTS
_MARK: Final = b'"kind":"policy.'


@dataclass(slots=True)
class Counts:
    """Decisions that were compared, and those for which there was no room; `kinds` counts the differences by kind.

    `rules` counts them by (kind, rule); `calls` are the latest call ids of each kind. `partial`: the roll-out was
    proposed before what was looked through.
    """

    compared: int = 0
    skipped: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    rules: dict[str, Counter[str]] = field(default_factory=dict)
    calls: dict[str, list[str]] = field(default_factory=dict)
    partial: bool = False

    def __str__(self) -> str:
        if not self.compared:
            return ""
        told = [f"{count:,} {kind}" for kind, count in self.kinds.most_common()]
        return f"{', '.join(told) or 'no difference'} of {self.compared:,}{'+' if self.partial else ''}"

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "compared": self.compared,
            "skipped": self.skipped,
            "kinds": dict(self.kinds),
            "rules": {kind: dict(rules) for kind, rules in self.rules.items()},
            "calls": self.calls,
            "partial": self.partial,
        }

    def add(self, record: Mapping[str, Any]) -> None:
        """Add one record, a newer one than those before."""
        self.compared += record["compared"]
        self.skipped += record["skipped"]
        for each in record["differences"]:
            kind = each["kind"]
            self.kinds[kind] += each["count"]
            rules = self.rules.setdefault(kind, Counter())
            for rule in each["rules"]:
                rules[rule["rule"]] += rule["count"]
            self.calls[kind] = list(dict.fromkeys([*each["calls"], *self.calls.get(kind, ())]))[:_MOST_CALLS]


class ShadowCounts:
    """The counts as far as the log was read; each look reads on from where the last one ended.

    The first one begins `look_back` records before the log's end, or at its beginning where that is None.
    """

    def __init__(self, reader: LogReader, look_back: int | None = LOOK_BACK) -> None:
        self._reader = reader
        self._look_back = look_back
        self._next: int | None = None
        self._found: dict[str, Counts] = {}

    def of(self, rollouts: Collection[Rollout]) -> dict[str, Counts]:
        """The counts of those roll-outs that have any."""
        if not rollouts:
            self._next, self._found = None, {}
            return {}
        end = self._reader.size()
        if self._next is None:
            self._next = 0 if self._look_back is None else max(0, end - self._look_back)
        for index, data in self._reader.search(_MARK, self._next, end):
            self._next = index + 1  # one that was taken is not taken again, should the log fail after it
            self._take(decode(data))
        self._next = max(self._next, end)
        known = {each.id for each in rollouts}
        if len(self._found) > _MOST_FOUND:
            self._found = {name: counts for name, counts in self._found.items() if name in known}
        return {
            name: deepcopy(counts)
            for name, counts in self._found.items()
            if name in known and (counts.compared or counts.skipped)
        }

    def _take(self, record: Mapping[str, Any]) -> None:
        kind, name = record.get("kind"), str(record.get("rollout"))
        if kind == "policy.proposed":
            self._found.setdefault(name, Counts())
        elif kind == "policy.shadow":
            self._found.setdefault(name, Counts(partial=True)).add(record)


def shadow_counts(reader: LogReader, rollouts: Collection[Rollout]) -> dict[str, Counts]:
    """The counts of those roll-outs that have any, out of the whole log; a second for some million records."""
    return ShadowCounts(reader, None).of(rollouts)
