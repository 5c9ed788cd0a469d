"""A destination of decision logs is lost: its events wait in the log, and whoever reads there misses them.

The loss is recorded once for each reason; one alert is enough until the destination is back.
"""

from __future__ import annotations

from collections.abc import Iterable

from detectors.consumer import Emission
from detectors.detector import Case, Facts, parse, text
from detectors.once import Once


class DecisionLogLost(Once):
    """A collector or a file takes no events."""

    name = "decision_log"
    kinds = frozenset({b"decision_log.lost", b"decision_log.back"})
    title = "Decision logs not delivered"
    meaning = "A destination of decision logs takes no events. They wait in the log, and none is lost meanwhile."
    remedy = "Run 'cordon doctor'; see that the collector runs and takes the token, or that the file can be written."

    severity = "medium"
    subject = "decision-logs"

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Raise one alert for each destination, whatever further reasons it is lost for."""
        facts = parse(record)
        destination = text(facts, "destination")
        if kind == b"decision_log.back":
            return self.over(destination)
        summary = f"Decision logs do not reach {destination}: {text(facts, 'detail')}"
        return self.tell(destination, summary, index, facts)


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
