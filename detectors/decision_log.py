"""A destination of decision logs is lost: its events wait in the log, and whoever reads there misses them.

The loss is recorded once for each reason; one alert is enough until the destination is back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from detectors.alert import Alert
from detectors.consumer import Emission, Fields
from detectors.detector import Case, Detector, Facts, number, parse, text

MOST: Final = 64
"""Most destinations remembered; there are few, and those that were renamed."""


class DecisionLogLost(Detector):
    """A collector or a file takes no events."""

    name = "decision_log"
    kinds = frozenset({b"decision_log.lost", b"decision_log.back"})
    title = "Decision logs not delivered"
    meaning = "A destination of decision logs takes no events. They wait in the log, and none is lost meanwhile."
    remedy = "Run 'cordon doctor'; see that the collector runs and takes the token, or that the file can be written."

    def __init__(self) -> None:
        self._lost: list[str] = []

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Raise one alert for each destination, whatever further reasons it is lost for."""
        facts = parse(record)
        destination = text(facts, "destination")
        before = [name for name in self._lost if name != destination]
        if kind == b"decision_log.back":
            self._lost = before
            return ()
        if destination in self._lost:
            return ()
        self._lost = [*before[1 - MOST :], destination]
        at = number(facts, "at")
        alert = Alert(
            detector=self.name,
            severity="medium",
            tenant="",
            subject_type="gateway",
            subject="decision-logs",
            summary=f"Decision logs do not reach {destination}: {text(facts, 'detail')}",
            evidence=(index,),
            count=1,
            since=at,
            until=at,
        )
        return (alert.emission(),)

    def snapshot(self) -> Fields:
        """The destinations that are lost."""
        return {"lost": self._lost}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""
        self._lost = list(cast("list[str]", snapshot["lost"]))


def _lost(destination: str, reason: str = "connect") -> Facts:
    return {"kind": "decision_log.lost", "at": 1, "destination": destination, "reason": reason, "detail": "is away"}


def _back(destination: str) -> Facts:
    return {"kind": "decision_log.back", "at": 2, "destination": destination}


DecisionLogLost.cases = (
    Case("a collector is lost", [_lost("siem")], ["decision-logs"]),
    Case("for another reason", [_lost("siem"), _lost("siem", "status")], ["decision-logs"]),
    Case("another one too", [_lost("siem"), _lost("archive")], ["decision-logs", "decision-logs"]),
    Case("again after it was back", [_lost("siem"), _back("siem"), _lost("siem")], ["decision-logs", "decision-logs"]),
    Case("another one is back", [_lost("siem"), _back("archive"), _lost("siem")], ["decision-logs"]),
    Case("it is back", [_back("siem")]),
)
