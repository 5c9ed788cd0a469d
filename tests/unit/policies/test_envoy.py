"""Results of bundles for opa-envoy-plugin: what could not be enforced denies."""

from __future__ import annotations

import orjson
import pytest

from policies.envoy import read_envoy
from policies.result import MAX_RESULT, MAX_TEXT, Reason, RequestDecision


def read(value: object) -> RequestDecision:
    return read_envoy(orjson.dumps(value))


def test_a_boolean_decides() -> None:
    assert read(True) == RequestDecision(True)
    assert read(False) == RequestDecision(False)


def test_an_object_decides_by_allowed() -> None:
    assert read({"allowed": True}) == RequestDecision(True)
    assert read({"allowed": False}) == RequestDecision(False)
    assert read({"allowed": True, "http_status": 200, "body": "fine"}) == RequestDecision(True)


@pytest.mark.parametrize("value", [None, 0, 1, "true", [], [True], {}, {"allow": True}, {"Allowed": True}, 1.0])
def test_anything_else_denies(value: object) -> None:
    decision = read(value)
    assert decision.allow is False
    assert decision.reasons[0].rule == "policy.result"


@pytest.mark.parametrize("value", [None, 0, 1, "true", [], {"allowed": True}])
def test_allowed_counts_only_as_a_boolean(value: object) -> None:
    assert read({"allowed": value}).allow is False


@pytest.mark.parametrize("text", ["", "{", "nonsense", b"\xff", '"<undefined>"', "true false", "NaN"])
def test_what_is_no_result_denies(text: str | bytes) -> None:
    assert read_envoy(text).allow is False


@pytest.mark.parametrize(
    "key",
    [
        "headers",
        "request_headers_to_remove",
        "response_headers_to_add",
        "query_parameters_to_set",
        "query_parameters_to_remove",
        "dynamic_metadata",
    ],
)
def test_changes_that_are_not_enforced_deny(key: str) -> None:
    changes: list[object] = [{"x": "y"}, ["x"], "x", True]
    for value in changes:
        decision = read({"allowed": True, key: value})
        assert decision.allow is False
        assert key in decision.reasons[0].detail
    nothing: list[object] = [{}, [], None]
    for value in nothing:
        assert read({"allowed": True, key: value}).allow is True


def test_changes_of_a_denied_call_are_ignored() -> None:
    assert read({"allowed": False, "headers": {"x": "y"}, "http_status": 401}) == RequestDecision(False)


def test_a_key_that_the_plugin_does_not_know_denies() -> None:
    decision = read({"allowed": True, "redact": {"email": "mask"}})
    assert decision.allow is False
    assert "does not know" in decision.reasons[0].detail


def test_the_body_of_a_denial_is_its_reason() -> None:
    assert read({"allowed": False, "body": "not today"}).reasons == (Reason("", "not today"),)
    assert len(read({"allowed": False, "body": "x" * 5_000}).reasons[0].detail) == MAX_TEXT
    for body in ("", None, 1, {"a": "b"}):
        assert read({"allowed": False, "body": body}).reasons == ()


def test_too_long_a_result_denies() -> None:
    assert read({"allowed": True, "body": "x" * MAX_RESULT}).allow is False
