"""What the shadow of each roll-out has counted so far, added up from its records in the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lineage.reader import LogReader
from lineage.record import decode
from lineage.rollouts import Rollout

LOOK_BACK: Final = 500_000
"""How many of the latest records are looked through."""
_STRETCH: Final = 10_000
_MOST_CALLS: Final = 10
_MARK: Final = b'"kind":"policy.shadow"'


@dataclass(slots=True)
class Counts:
    """Decisions that were compared, and those for which there was no room; `kinds` counts the differences by kind.

    `rules` counts them by (kind, rule); `calls` are the latest call ids of each kind. `partial`: the roll-out began
    before what was looked through.
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
        """Add one record, an older one than those before."""
        self.compared += record["compared"]
        self.skipped += record["skipped"]
        for each in record["differences"]:
            kind = each["kind"]
            self.kinds[kind] += each["count"]
            rules = self.rules.setdefault(kind, Counter())
            for rule in each["rules"]:
                rules[rule["rule"]] += rule["count"]
            calls = self.calls.setdefault(kind, [])
            calls += [call for call in each["calls"] if call not in calls][: _MOST_CALLS - len(calls)]


def shadow_counts(reader: LogReader, rollouts: Collection[Rollout]) -> dict[str, Counts]:
    """The counts of those roll-outs that have any."""
    if not rollouts:
        return {}
    found: dict[str, Counts] = {}
    known = {each.id for each in rollouts}
    end = reader.size()
    lowest = max(0, end - LOOK_BACK)
    for record in _records(reader, lowest, end):
        name = record.get("rollout")
        if name in known:
            found.setdefault(str(name), Counts(partial=lowest > 0)).add(record)
    return found


def _records(reader: LogReader, lowest: int, end: int) -> Iterable[Mapping[str, Any]]:
    """Newest first."""
    while end > lowest:
        start = max(lowest, end - _STRETCH)
        for _, data in reversed(reader.source.search(_MARK, start, end)):
            record = decode(data)
            if record.get("kind") == "policy.shadow":
                yield record
        end = start
