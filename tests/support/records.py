"""Records as the gateway writes them, for tests of what reads the log."""

from __future__ import annotations

from collections.abc import Mapping

from lineage.record import encode

CALL = {"call": "01JD0000000000000000000000", "tenant": "acme", "principal": "acme/ci-bot", "route": "openai"}
SENT = {"attempt": 1, "endpoint": "openai-eu", "findings": {}, "redacted": {}, "policy": "r1"}
REQUEST = {"key": "key-1", "method": "POST", "path": "/v1/chat/completions"}


def record(kind: str, at: int, boot: str = "gateway-0-01J", facts: Mapping[str, object] | None = None) -> bytes:
    """One record of `kind`, encoded."""
    return encode({"v": 1, "kind": kind, "at": at, "boot": boot, **(facts or {})})


def refused(at: int, principal: str = "acme/ci-bot", stage: str = "decision", status: int = 403) -> bytes:
    """A call of a known principal that was not sent anywhere."""
    reasons = [{"code": "residency", "detail": "no endpoint is allowed"}]
    who = {"principal": principal, "tenant": principal.partition("/")[0]}
    why = {"stage": stage, "status": status, "reasons": reasons, "findings": {}}
    return record("call.refused", at, facts={**CALL, **REQUEST, **who, **why})


def intent(at: int, boot: str = "gateway-0-01J", **facts: object) -> bytes:
    """A call that is about to be sent; `facts` replace its usual ones."""
    sent = {"model": "gpt", "input": {"digest": "00", "bytes": 12}}
    return record("call.intent", at, boot, {**CALL, **REQUEST, **SENT, **sent, **facts})


def outcome(at: int, intent: int, boot: str = "gateway-0-01J", **facts: object) -> bytes:
    """What became of the call whose intent is at log index `intent`; `facts` replace the usual ones."""
    came = {"status": 200, "verdict": "allowed", "output": {"digest": "00", "bytes": 9}, "reasons": [], "ms": 3}
    return record("call.outcome", at, boot, {**CALL, **SENT, **came, "intent": intent, "final": True, **facts})
