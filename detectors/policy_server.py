"""The OPA server that decides is lost: every call is refused until it is back, and somebody has to know.

Every worker says so itself; one alert is enough until the server is back for one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from detectors.alert import Alert
from detectors.consumer import Emission, Fields
from detectors.detector import Case, Detector, Facts, number, parse, text


class PolicyServerLost(Detector):
    """The OPA server gives no answer that calls can be decided by."""

    name = "policy_server"
    kinds = frozenset({b"policy.server_lost", b"policy.server_back"})
    title = "OPA server lost"
    meaning = "The OPA server does not answer, or not with the bundle that is meant. Calls are refused meanwhile."
    remedy = "Run 'cordon doctor'; see that the OPA server runs, can be reached and holds its bundle."

    def __init__(self) -> None:
        self._told: list[str] = []

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Raise one alert for each reason, however many workers meet it."""
        facts = parse(record)
        if kind == b"policy.server_back":
            self._told.clear()
            return ()
        reason = text(facts, "reason")
        if reason in self._told:
            return ()
        self._told = [*self._told[-15:], reason]
        at = number(facts, "at")
        alert = Alert(
            detector=self.name,
            severity="high",
            tenant="",
            subject_type="gateway",
            subject="policy",
            summary=f"Calls are refused: {text(facts, 'detail')}",
            evidence=(index,),
            count=1,
            since=at,
            until=at,
        )
        return (alert.emission(),)

    def snapshot(self) -> Fields:
        """What was reported since the server was back last."""
        return {"told": self._told}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""
        self._told = list(cast("list[str]", snapshot["told"]))


def _lost(reason: str) -> Facts:
    return {"kind": "policy.server_lost", "at": 1, "reason": reason, "detail": "the OPA server cannot be reached"}


_BACK: Facts = {"kind": "policy.server_back", "at": 2}
PolicyServerLost.cases = (
    Case("the server is lost", [_lost("connect")], ["policy"]),
    Case("for four workers", [_lost("connect")] * 4, ["policy"]),
    Case("for another reason", [_lost("connect"), _lost("empty")], ["policy", "policy"]),
    Case("again after it was back", [_lost("connect"), _BACK, _lost("connect")], ["policy", "policy"]),
    Case("it is back", [_BACK]),
)
