"""A bundle in shadow as its worker knows it, and what was counted since the last record: bounded, whatever it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from policies.admission import Admission
from policies.shadow.compare import KINDS

MOST_RULES: Final = 16
"""Rules that are counted by name for each kind of difference; the rest are counted together."""
MOST_EXAMPLES: Final = 10
MOST_BREAKDOWNS: Final = 3
"""A bundle that the process broke down on so often is not tried again."""
OTHERS: Final = "(others)"


@dataclass(slots=True)
class Kind:
    """The differences of one kind: how many decisions, by which rules, and the first calls."""

    count: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    calls: list[str] = field(default_factory=list)

    def add(self, rules: set[str], call: str) -> None:
        """Count one decision."""
        self.count += 1
        for rule in rules:
            self.rules[rule if rule in self.rules or len(self.rules) < MOST_RULES else OTHERS] += 1
        if call not in self.calls and len(self.calls) < MOST_EXAMPLES:
            self.calls.append(call)

    def facts(self, kind: str) -> dict[str, object]:
        """As it stands in a record."""
        rules = [{"rule": rule, "count": count} for rule, count in self.rules.most_common()]
        return {"kind": kind, "count": self.count, "rules": rules, "calls": list(self.calls)}


@dataclass(slots=True)
class Trial:
    """A bundle in shadow: its roll-out, whose calls it is for (`scope`), and what was counted since the last record."""

    rollout: str
    scope: str
    verdict: Admission
    compared: int = 0
    skipped: int = 0
    kinds: dict[str, Kind] = field(default_factory=dict)
    breakdowns: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the process broke down on it too often."""
        return self.breakdowns >= MOST_BREAKDOWNS

    def drain(self) -> dict[str, object] | None:
        """What was counted, once; None where nothing was."""
        if not self.compared and not self.skipped:
            return None
        assert self.verdict.bundle is not None
        facts: dict[str, object] = {
            "rollout": self.rollout,
            "scope": self.scope,
            "revision": self.verdict.bundle.revision,
            "compared": self.compared,
            "skipped": self.skipped,
            "differences": [self.kinds[kind].facts(kind) for kind in KINDS if kind in self.kinds],
        }
        self.compared = self.skipped = 0
        self.kinds = {}
        return facts
