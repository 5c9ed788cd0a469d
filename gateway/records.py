"""The records that a call leaves in the log: an intent and an outcome for each attempt, or a refusal.

Facts only: ids, counts, keyed digests. Nothing that was found in the content is repeated here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gateway.identity import Principal

PATH_CHARACTERS = 256
MODEL_CHARACTERS = 128
REASONS = 8
REASON_CHARACTERS = 300
TYPES = 32

Verdict = Literal["allowed", "blocked", "failed", "cut"]
Findings = Mapping[str, int]


@dataclass(slots=True)
class Facts:
    """What is known of a call so far, as its records tell it."""

    boot: str
    call: str
    route: str = ""
    method: str = ""
    path: str = ""
    principal: Principal | None = None
    findings: Findings = field(default_factory=dict)
    redacted: Mapping[str, str] = field(default_factory=dict)
    policy: str = ""
    tenant_policy: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    trace: str = ""
    span: str = ""
    decided_us: int = 0
    """Time that policy took to decide on the request, in microseconds, as the worker saw it; 0: it was not asked."""


def intent(
    facts: Facts, attempt: int, endpoint: str, model: str, sent: Mapping[str, object], side: str
) -> dict[str, object]:
    """`call.intent`: what is about to be sent where, under which policy."""
    record = _of_call("call.intent", facts)
    record |= {
        "attempt": attempt,
        "endpoint": endpoint,
        "method": facts.method,
        "path": facts.path[:PATH_CHARACTERS],
        "input": sent,
        "findings": _counts(facts.findings),
        "redacted": dict(facts.redacted),
        "policy": facts.policy,
    }
    _optional(
        record,
        model=model[:MODEL_CHARACTERS], side=side, labels=dict(facts.labels), certificate=_certificate(facts),
        tenant_policy=facts.tenant_policy, trace=facts.trace, span=facts.span, decided_us=facts.decided_us,
    )  # fmt: skip
    return record


def outcome(
    facts: Facts,
    attempt: int,
    endpoint: str,
    intent_index: int,
    *,
    status: int,
    verdict: Verdict,
    received: Mapping[str, object],
    findings: Findings,
    redacted: Mapping[str, str],
    reasons: Sequence[Mapping[str, str]],
    model: str,
    milliseconds: int,
    final: bool,
    restored: int = 0,
    side: str = "",
    decided_us: int = 0,
) -> dict[str, object]:
    """`call.outcome`: what came back from one attempt and what the client was given of it.

    `side`: policy's input at the last decision on the answer, `decided_us` the time that this decision took.
    """
    record = _of_call("call.outcome", facts)
    record |= {
        "attempt": attempt,
        "endpoint": endpoint,
        "intent": intent_index,
        "status": status,
        "verdict": verdict,
        "output": received,
        "findings": _counts(findings),
        "redacted": dict(redacted),
        "reasons": _reasons(reasons),
        "policy": facts.policy,
        "ms": milliseconds,
        "final": final,
    }
    _optional(
        record,
        model=model, restored=restored, tenant_policy=facts.tenant_policy, side=side,
        trace=facts.trace, span=facts.span, decided_us=decided_us,
    )  # fmt: skip
    return record


def refused(
    facts: Facts, stage: str, status: int, reasons: Sequence[Mapping[str, str]], side: str = ""
) -> dict[str, object]:
    """`call.refused`: a known caller's call that was not sent anywhere. `side`: policy's input, where it refused."""
    record = _of_call("call.refused", facts)
    record |= {
        "method": facts.method,
        "path": facts.path[:PATH_CHARACTERS],
        "stage": stage,
        "status": status,
        "reasons": _reasons(reasons),
        "findings": _counts(facts.findings),
    }
    _optional(
        record,
        policy=facts.policy, tenant_policy=facts.tenant_policy, trace=facts.trace, span=facts.span,
        certificate=_certificate(facts), side=side, decided_us=facts.decided_us,
    )  # fmt: skip
    return record


def refused_known(
    facts: Facts, stage: str, status: int, reason: str, count: int, interval_ms: int
) -> dict[str, object]:
    """`call.refused`, aggregated: the refusals of a known caller for one reason beyond those with a record each."""
    record = _of_call("call.refused", facts)
    del record["call"], record["route"]
    told = {"stage": stage, "status": status, "reason": reason, "count": count, "interval_ms": interval_ms}
    return record | told


def refused_unknown(boot: str, source: str, reason: str, count: int, interval_ms: int) -> dict[str, object]:
    """`call.refused`, aggregated: calls without an identity from one source, for one reason, within an interval."""
    return _base("call.refused", boot) | {
        "stage": "identity",
        "source": source,
        "reason": reason,
        "count": count,
        "interval_ms": interval_ms,
    }


def microseconds(since: float) -> int:
    """The whole microseconds since a moment of `time.perf_counter`."""
    return int((time.perf_counter() - since) * 1_000_000)


def _base(kind: str, boot: str) -> dict[str, object]:
    return {"v": 1, "kind": kind, "at": time.time_ns() // 1_000_000, "boot": boot}


def _of_call(kind: str, facts: Facts) -> dict[str, object]:
    record = _base(kind, facts.boot)
    record["call"] = facts.call
    record["route"] = facts.route
    if facts.principal is not None:
        record["tenant"] = facts.principal.tenant
        record["principal"] = facts.principal.id
        record["key"] = facts.principal.key
    return record


def _certificate(facts: Facts) -> str:
    principal = facts.principal
    return principal.certificate.digest if principal is not None and principal.certificate is not None else ""


def _counts(findings: Findings) -> dict[str, int]:
    return dict(sorted(findings.items())[:TYPES])


def _reasons(reasons: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    return [{name: text[:REASON_CHARACTERS] for name, text in reason.items()} for reason in reasons[:REASONS]]


def _optional(record: dict[str, object], **values: object) -> None:
    record.update({name: value for name, value in values.items() if value})
