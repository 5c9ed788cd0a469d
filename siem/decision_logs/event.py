"""Records as events of a decision log: what was decided on a request, and on an answer.

`result` is what the record tells of the decision, in the shape of Cordon's results. `input` is added by the source.
What OPA's format has no field for lies in `custom`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

Event = dict[str, object]
Record = Mapping[str, object]

KINDS: Final = frozenset({b"call.intent", b"call.outcome", b"call.refused"})
UNDECIDED: Final = ("policy_failed", "policy_unavailable")
"""Reasons of refusals where policy gave no decision; they become the event's `error`."""
BUNDLES: Final = (("cordon", "policy"), ("tenant", "tenant_policy"))
"""Bundles as events name them, and the fields of a record with their revisions: the common one, the tenant's own."""
TIMER: Final = "timer_server_handler_ns"
"""OPA's name for the time from a question to its answer. How much of it was evaluation is not measured."""
_AS_THEY_ARE: Final = (("requested_by", "principal"), ("trace_id", "trace"), ("span_id", "span"))
_LAST_MS: Final = 253_402_300_799_999
_OF_CALL: Final = ("call", "tenant", "principal", "route", "endpoint", "model", "attempt", "verdict", "count", "stage")


@dataclass(frozen=True, slots=True)
class Origin:
    """What all events have in common. Paths are those of the rules, such as `cordon/request/decision`.

    `answers` is None where no rule decides on answers.
    """

    labels: Mapping[str, str]
    requests: str
    answers: str | None


def event_of(index: int, record: Record, origin: Origin) -> Event | None:
    """The event of the record at `index`; None where policy was not asked, or was before and is not asked again."""
    kind = record.get("kind")
    if kind == "call.intent" and record.get("attempt") == 1:
        return _event(index, record, origin, origin.requests) | {"result": _sent(record)}
    if kind == "call.refused" and record.get("stage") == "decision":
        return _event(index, record, origin, origin.requests) | _refused(record)
    if kind == "call.outcome" and origin.answers is not None and _was_decided(record):
        return _event(index, record, origin, origin.answers) | _answered(record)
    return None


def path_of(rule: str) -> str:
    """The path of a rule `data.a.b` as decision logs have it."""
    return rule.removeprefix("data.").replace(".", "/")


def _event(index: int, record: Record, origin: Origin, path: str) -> Event:
    event: Event = {
        "labels": dict(origin.labels),
        "decision_id": f"{record.get('call') or record.get('boot')}-{index}",
        "path": path,
        "timestamp": _timestamp(record.get("at")),
        "custom": {"index": index} | {name: record[name] for name in _OF_CALL if name in record},
    }
    bundles = {name: {"revision": record[at]} for name, at in BUNDLES if record.get(at)}
    if bundles:
        event["bundles"] = bundles
    event |= {name: record[at] for name, at in _AS_THEY_ARE if record.get(at)}
    took = record.get("decided_us")
    if type(took) is int and took > 0:
        event["metrics"] = {TIMER: took * 1_000}
    return event


def _sent(record: Record) -> Event:
    result: Event = {"allow": True, "endpoints": [record.get("endpoint")]}
    return result | {name: record[at] for name, at in (("redact", "redacted"), ("labels", "labels")) if record.get(at)}


def _refused(record: Record) -> Event:
    reasons = _reasons(record)
    if not record.get("side") and len(reasons) == 1 and reasons[0].get("rule") in UNDECIDED:
        return _error(reasons[0])
    if not reasons and record.get("reason"):
        reasons = [{"rule": record["reason"]}]
    return {"result": {"allow": False, "reasons": reasons}}


def _was_decided(record: Record) -> bool:
    """Whether policy was asked about the answer: it was where it was passed on or blocked, or some of it had gone out.

    An upstream that failed before gave nothing to decide on.
    """
    output = record.get("output")
    return record.get("verdict") in {"allowed", "blocked"} or bool(isinstance(output, Mapping) and output.get("bytes"))


def _answered(record: Record) -> Event:
    reasons = _reasons(record)
    if record.get("verdict") == "blocked":
        if len(reasons) == 1 and reasons[0].get("rule") in UNDECIDED:
            return _error(reasons[0])
        return {"result": {"allow": False, "reasons": reasons}}
    result: Event = {"allow": True}
    if record.get("redacted"):
        result["redact"] = record["redacted"]
    return {"result": result}


def _error(reason: Mapping[str, object]) -> Event:
    return {"error": {"code": str(reason["rule"]), "message": str(reason.get("detail", ""))}}


def _reasons(record: Record) -> list[Mapping[str, object]]:
    reasons = record.get("reasons")
    return [each for each in reasons if isinstance(each, Mapping)] if isinstance(reasons, list) else []


def _timestamp(at: object) -> str:
    """RFC 3339 in UTC, as OPA writes it."""
    ms = min(max(at, 0), _LAST_MS) if isinstance(at, int) else 0
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03}Z"
