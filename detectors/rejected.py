"""A policy bundle that could not be loaded: the old one stays in force, and somebody has to know.

Every worker says so itself; one alert is enough for one bundle's problems until a bundle is loaded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from detectors.alert import Alert
from detectors.consumer import Emission, Fields
from detectors.detector import Case, Detector, Facts, number, parse, text


class Rejected(Detector):
    """A policy bundle was refused when it was loaded."""

    name = "rejected"
    kinds = frozenset({b"policy.loaded", b"policy.rejected"})
    title = "Policy bundle refused"
    meaning = "The bundle on disk is not valid or cannot be evaluated exactly. The one before stays in force."
    remedy = "Run 'cordon policy check' on the bundle and mend what it names."

    def __init__(self) -> None:
        self._told: list[str] = []

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Raise one alert for the same problems, however many workers meet them."""
        facts = parse(record)
        if kind == b"policy.loaded":
            self._told.clear()
            return ()
        bundle = text(facts, "bundle")
        problems = cast("Sequence[object]", facts.get("problems") or ("no reason was given",))
        what = f"{bundle}: {problems[0]}"
        if what in self._told:
            return ()
        self._told = [*self._told[-15:], what]
        at = number(facts, "at")
        alert = Alert(
            detector=self.name,
            severity="medium",
            tenant="",
            subject_type="gateway",
            subject="policy",
            summary=f"Bundle {bundle} was refused, the old one stays: {problems[0]}",
            evidence=(index,),
            count=len(problems),
            since=at,
            until=at,
        )
        return (alert.emission(),)

    def snapshot(self) -> Fields:
        """What was reported since a bundle was loaded last."""
        return {"told": self._told}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""
        self._told = list(cast("list[str]", snapshot["told"]))


def _rejected(problem: str) -> Facts:
    return {"kind": "policy.rejected", "at": 1, "bundle": "starter", "problems": [problem]}


_LOADED: Facts = {"kind": "policy.loaded", "at": 1, "bundle": "starter", "revision": "r1"}
Rejected.cases = (
    Case("a bundle is refused", [_rejected("a.rego:3: recursion")], ["policy"]),
    Case("by four workers", [_rejected("a.rego:3: recursion")] * 4, ["policy"]),
    Case("for two reasons, one after the other", [_rejected("a"), _rejected("b")], ["policy", "policy"]),
    Case("again after one was loaded", [_rejected("a"), _LOADED, _rejected("a")], ["policy", "policy"]),
    Case("a bundle is loaded", [_LOADED]),
)
