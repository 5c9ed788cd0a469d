"""A policy bundle that could not be loaded: the old one stays in force, and somebody has to know.

Every worker says so itself; one alert is enough for one bundle's problems until a bundle is loaded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from detectors.consumer import Emission
from detectors.detector import Case, Facts, parse, text
from detectors.once import Once


class Rejected(Once):
    """A policy bundle was refused when it was loaded."""

    name = "rejected"
    kinds = frozenset({b"policy.loaded", b"policy.rejected"})
    title = "Policy bundle refused"
    meaning = "The bundle on disk is not valid or cannot be evaluated exactly. The one before stays in force."
    remedy = "Run 'cordon policy check' on the bundle and mend what it names."

    severity = "medium"
    subject = "policy"

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Raise one alert for the same problems, however many workers meet them."""
        facts = parse(record)
        if kind == b"policy.loaded":
            return self.over()
        problems = cast("Sequence[object]", facts.get("problems") or ("no reason was given",))
        if "rollout" in facts:
            bundle = f"of {text(facts, 'rollout')}"
            after = (
                "the calls that it should decide are refused" if text(facts, "stage") != "shadow" else "it is not tried"
            )
        else:
            bundle, after = text(facts, "bundle"), "the old one stays"
        summary = f"Bundle {bundle} was refused, {after}: {problems[0]}"
        return self.tell(f"{bundle}: {problems[0]}", summary, index, facts, count=len(problems))


def _rejected(problem: str) -> Facts:
    return {"kind": "policy.rejected", "at": 1, "bundle": "starter", "problems": [problem]}


_LOADED: Facts = {"kind": "policy.loaded", "at": 1, "bundle": "starter", "revision": "r1"}
_ROLLED_OUT: Facts = {"kind": "policy.rejected", "at": 1, "rollout": "r-1", "stage": "live", "problems": ["is missing"]}
Rejected.cases = (
    Case("a bundle is refused", [_rejected("a.rego:3: recursion")], ["policy"]),
    Case("by four workers", [_rejected("a.rego:3: recursion")] * 4, ["policy"]),
    Case("for two reasons, one after the other", [_rejected("a"), _rejected("b")], ["policy", "policy"]),
    Case("again after one was loaded", [_rejected("a"), _LOADED, _rejected("a")], ["policy", "policy"]),
    Case("a bundle is loaded", [_LOADED]),
    Case("a roll-out's bundle is missing", [_ROLLED_OUT] * 2, ["policy"]),
)
