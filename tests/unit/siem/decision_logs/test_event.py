"""What a record becomes in OPA's decision log format."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from siem.decision_logs.event import Origin, event_of, path_of
from tests.support import records

ORIGIN = Origin({"app": "cordon", "id": "cordon.test"}, "cordon/request/decision", "cordon/response/decision")


def event(record: bytes, origin: Origin = ORIGIN) -> dict[str, Any] | None:
    return event_of(7, orjson.loads(record), origin)


def test_a_call_that_was_sent_is_an_allowed_request() -> None:
    found = event(
        records.intent(
            1_700_000_000_123,
            labels={"purpose": "test"},
            redacted={"email": "mask"},
            trace="ab" * 16,
            span="cd" * 8,
            decided_us=41,
        )
    )
    assert found == {
        "labels": {"app": "cordon", "id": "cordon.test"},
        "decision_id": "01JD0000000000000000000000-7",
        "path": "cordon/request/decision",
        "bundles": {"cordon": {"revision": "r1"}},
        "result": {
            "allow": True, "endpoints": ["openai-eu"], "redact": {"email": "mask"}, "labels": {"purpose": "test"},
        },
        "requested_by": "acme/ci-bot",
        "timestamp": "2023-11-14T22:13:20.123Z",
        "trace_id": "ab" * 16,
        "span_id": "cd" * 8,
        "metrics": {"timer_server_handler_ns": 41_000},
        "custom": {
            "index": 7, "call": "01JD0000000000000000000000", "tenant": "acme", "principal": "acme/ci-bot",
            "route": "openai", "endpoint": "openai-eu", "model": "gpt", "attempt": 1,
        },
    }  # fmt: skip


def test_both_bundles_are_named_where_two_decided() -> None:
    found = event(records.outcome(1, 3, tenant_policy="r2"))
    assert found is not None
    assert found["bundles"] == {"cordon": {"revision": "r1"}, "tenant": {"revision": "r2"}}


@pytest.mark.parametrize("took", [None, 0, -1, "soon", True])
def test_a_time_that_was_not_measured_is_not_told(took: object) -> None:
    found = event_of(1, orjson.loads(records.intent(1)) | {"decided_us": took}, ORIGIN)
    assert found is not None and "metrics" not in found


def test_another_attempt_is_no_other_decision() -> None:
    assert event(records.intent(1, attempt=2)) is None


def test_a_refusal_by_policy_is_a_denied_request() -> None:
    found = event(records.refused(1))
    assert found is not None
    assert found["result"] == {"allow": False, "reasons": [{"code": "residency", "detail": "no endpoint is allowed"}]}


@pytest.mark.parametrize("stage", ["containment", "inspection", "routing", "lineage"])
def test_a_refusal_that_policy_was_not_asked_about_is_none(stage: str) -> None:
    assert event(records.refused(1, stage=stage)) is None


@pytest.mark.parametrize("code", ["policy_failed", "policy_unavailable"])
def test_where_policy_could_not_decide_the_event_has_an_error_and_no_result(code: str) -> None:
    reason = {"rule": code, "detail": "an error in time.now_ns"}
    refused = event(records.record("call.refused", 1, facts=records.CALL | {"stage": "decision", "reasons": [reason]}))
    blocked = event(records.outcome(1, 3, verdict="blocked", reasons=[reason]))
    for found in (refused, blocked):
        assert found is not None
        assert found["error"] == {"code": code, "message": "an error in time.now_ns"}
        assert "result" not in found


def test_refusals_that_were_only_counted_are_one_event_that_says_how_many() -> None:
    facts = {"tenant": "acme", "principal": "acme/bot", "stage": "decision", "reason": "residency", "count": 40}
    found = event(records.record("call.refused", 1, facts=facts))
    assert found is not None
    assert found["decision_id"] == "gateway-0-01J-7"
    assert found["result"] == {"allow": False, "reasons": [{"rule": "residency"}]}
    assert found["custom"]["count"] == 40


@pytest.mark.parametrize(
    ("facts", "result"),
    [
        ({}, {"allow": True}),
        ({"redacted": {"iban": "drop"}}, {"allow": True, "redact": {"iban": "drop"}}),
        ({"verdict": "blocked", "reasons": [{"rule": "dna"}]}, {"allow": False, "reasons": [{"rule": "dna"}]}),
        ({"verdict": "cut"}, {"allow": True}),
        ({"verdict": "failed", "output": {"digest": "", "bytes": 0}}, None),
    ],
)
def test_the_answer_is_a_decision_of_its_own(facts: dict[str, object], result: object) -> None:
    found = event(records.outcome(1, 3, **facts))
    assert (found and found["result"]) == result
    if found is not None:
        assert found["path"] == "cordon/response/decision"
        assert found["custom"]["verdict"] == facts.get("verdict", "allowed")


def test_answers_that_no_rule_decides_on_are_none() -> None:
    assert event(records.outcome(1, 3), Origin({}, "a", None)) is None


@pytest.mark.parametrize("at", [-5, 1 << 53, "soon", None])
def test_whatever_the_time_says_there_is_a_timestamp(at: object) -> None:
    found = event_of(1, orjson.loads(records.intent(1)) | {"at": at}, ORIGIN)
    assert found is not None and str(found["timestamp"]).endswith("Z")


def test_a_rule_as_a_path() -> None:
    assert path_of("data.envoy.authz.allow") == "envoy/authz/allow"
