"""What a verification of the log checked and what it found, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MAX_SHOWN: Final = 20
"""Findings of one check that are kept word for word; further ones are counted."""


@dataclass(slots=True)
class Check:
    """One thing that is checked: how many of `what` were looked at, and what is wrong with them."""

    name: str
    what: str
    checked: int = 0
    wrong: int = 0
    findings: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        """Count something wrong."""
        self.wrong += 1
        if len(self.findings) < MAX_SHOWN:
            self.findings.append(text)


@dataclass(slots=True)
class Report:
    """The result of `verify`. `size` records were there when it began, `covered` of them under a checkpoint.

    `dangling` intents have no outcome (a call in flight, or a process that died), `lost` ones were reported by
    process.lost; `pruned` records are gone by retention, and their hashes fit. `unchecked` says what this run could
    not tell.
    """

    size: int
    covered: int
    checks: list[Check]
    dangling: int = 0
    dangling_shown: list[int] = field(default_factory=list)
    lost: int = 0
    pruned: int = 0
    unchecked: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """How many faults were found; 0 speaks only for what was checked."""
        return sum(check.wrong for check in self.checks)

    def lines(self) -> list[str]:
        """Return the report for people."""
        lines = [f"{self.size} records, {self.covered} of them under a checkpoint"]
        for check in self.checks:
            lines.append(f"{check.name}: {check.checked} {check.what} checked, {check.wrong} wrong")
            lines += [f"  {finding}" for finding in check.findings]
            if check.wrong > len(check.findings):
                lines.append(f"  and {check.wrong - len(check.findings)} more")
        shown = f", such as {', '.join(map(str, self.dangling_shown))}" if self.dangling_shown else ""
        lines.append(
            f"intents without an outcome: {self.dangling}{shown}; {self.lost} more reported as lost with a process"
        )
        lines += [f"not checked: {text}" for text in self.unchecked]
        return lines

    def as_dict(self) -> dict[str, object]:
        """Return the report for programs."""
        return {
            "size": self.size,
            "covered": self.covered,
            "wrong": self.wrong,
            "checks": [
                {"name": c.name, "what": c.what, "checked": c.checked, "wrong": c.wrong, "findings": c.findings}
                for c in self.checks
            ],
            "dangling": self.dangling,
            "dangling_shown": self.dangling_shown,
            "lost": self.lost,
            "pruned": self.pruned,
            "unchecked": self.unchecked,
        }
