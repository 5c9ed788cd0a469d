"""What a client met and what the log says of the same call, asserted together."""

from __future__ import annotations

from tests.support.gateway import Cordon, Record


class Seen:
    """The records that the log gains from the moment on that this is made; for one call at a time."""

    def __init__(self, gateway: Cordon) -> None:
        self._gateway = gateway
        self._start = gateway.log.size()

    def allowed(self, **facts: object) -> tuple[Record, Record]:
        """One call was sent and its answer allowed: its intent and its outcome."""
        outcome = self._gateway.until("call.outcome", self._start, verdict="allowed", final=True)
        (intent,) = self._gateway.records(self._start, "call.intent")
        assert outcome["intent"] == intent["index"] < outcome["index"]
        assert facts.items() <= intent.items()
        assert {
            name: intent[name] for name in ("call", "tenant", "principal", "route", "endpoint")
        }.items() <= outcome.items()
        assert not self._gateway.records(self._start, "call.refused")
        return intent, outcome

    def refused(self, stage: str, status: int) -> Record:
        """One call was refused and nothing was sent."""
        refusal = self._gateway.until("call.refused", self._start, stage=stage)
        assert refusal["status"] == status
        assert not self._gateway.records(self._start, "call.intent")
        return refusal

    def blocked(self) -> Record:
        """One answer was stopped."""
        return self._gateway.until("call.outcome", self._start, verdict="blocked", final=True)
