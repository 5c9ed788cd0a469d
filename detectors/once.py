"""What is told once, however many processes report it, until it is over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from detectors.alert import Alert
from detectors.consumer import Emission, Fields
from detectors.detector import Detector, Facts, number
from detectors.settings import Severity

MOST: Final = 64
"""Most things remembered as told; the one that was told first is forgotten."""


class Once(Detector):
    """Base of the detectors that tell a trouble of the gateway's own, and again only after it was over."""

    severity: Severity
    subject: str

    def __init__(self) -> None:
        self._told: list[str] = []

    def tell(self, what: str, summary: str, index: int, facts: Facts, *, count: int = 1) -> Iterable[Emission]:
        """An alert for the record at `index`, unless `what` was told since it was over last."""
        if what in self._told:
            return ()
        self._told = [*self._told[1 - MOST :], what]
        at = number(facts, "at")
        alert = Alert(
            detector=self.name,
            severity=self.severity,
            tenant="",
            subject_type="gateway",
            subject=self.subject,
            summary=summary,
            evidence=(index,),
            count=count,
            since=at,
            until=at,
        )
        return (alert.emission(),)

    def over(self, what: str = "") -> Iterable[Emission]:
        """It is over: `what` may be told again, or everything where nothing is named."""
        self._told = [each for each in self._told if what and each != what]
        return ()

    def snapshot(self) -> Fields:
        """What was told since it was over last."""
        return {"told": self._told}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""
        self._told = list(cast("list[str]", snapshot["told"]))
