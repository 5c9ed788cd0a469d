"""The OPA server that decides is lost: every call is refused until it is back, and somebody has to know.

Every worker says so itself; one alert is enough until the server is back for one of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from detectors.consumer import Emission
from detectors.detector import Case, Facts, parse, text
from detectors.once import Once


class PolicyServerLost(Once):
    """The OPA server gives no answer that calls can be decided by."""

    name = "policy_server"
    kinds = frozenset({b"policy.server_lost", b"policy.server_back"})
    title = "OPA server lost"
    meaning = "The OPA server does not answer, or not with the bundle that is meant. Calls are refused meanwhile."
    remedy = "Run 'cordon doctor'; see that the OPA server runs, can be reached and holds its bundle."

    severity = "high"
    subject = "policy"

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Raise one alert for each reason, however many workers meet it."""
        facts = parse(record)
        if kind == b"policy.server_back":
            return self.over()
        return self.tell(text(facts, "reason"), f"Calls are refused: {text(facts, 'detail')}", index, facts)


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
