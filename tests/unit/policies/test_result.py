"""A decision is read strictly: one thing amiss anywhere denies, and the reason says what and never shows a value."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from policies.result import (
    FINDINGS,
    MAX_CHARS,
    MAX_ENDPOINTS,
    MAX_LABELS,
    MAX_PATTERNS,
    MAX_REASONS,
    MAX_RESULT,
    MAX_TEXT,
    AnswerDecision,
    BlockPattern,
    Reason,
    RequestDecision,
    read_answer,
    read_request,
)

SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def request(**parts: Any) -> RequestDecision:
    return read_request(orjson.dumps({"allow": True, **parts}))


def answer(**parts: Any) -> AnswerDecision:
    return read_answer(orjson.dumps({"allow": True, **parts}))


def fault(decision: RequestDecision | AnswerDecision) -> str:
    """What a denial by the contract says."""
    assert decision.allow is False
    assert decision.reasons[0].rule == "policy.result"
    assert "cordon policy eval" in decision.reasons[0].fix
    return decision.reasons[0].detail


def test_a_bare_allowance() -> None:
    assert request() == RequestDecision(True)
    assert answer() == AnswerDecision(True)
    assert read_request('{"allow": false}') == RequestDecision(False)
    assert read_answer('{"allow": false}') == AnswerDecision(False)


def test_all_that_a_request_result_may_say() -> None:
    assert request(
        reasons=["why", {"rule": "r.1", "detail": "d", "fix": "f"}, {"detail": "only"}],
        endpoints=["b", "a"],
        redact={"email": "mask", "phone": "drop", "api_key": "hash"},
        require_approval=False,
        labels={"team": "red"},
        limits={},
    ) == RequestDecision(
        True,
        (Reason("", "why"), Reason("r.1", "d", "f"), Reason("", "only")),
        ("b", "a"),
        {"email": "mask", "phone": "drop", "api_key": "hash"},
        False,
        {"team": "red"},
    )


def test_all_that_a_response_result_may_say() -> None:
    assert answer(
        reasons=["why"],
        redact={"email": "mask"},
        labels={"team": "red"},
        plan="inspect",
        output={"max_chars": 10, "block": [{"id": "x", "pattern": "a+"}], "schema": SCHEMA},
    ) == AnswerDecision(
        True,
        (Reason("", "why"),),
        {"email": "mask"},
        {"team": "red"},
        "buffer",
        {"max_chars": 10},
        (BlockPattern("x", "a+"),),
        SCHEMA,
    )


@pytest.mark.parametrize("text", ["", "{", "nonsense", '{"allow": true', "NaN", '{"allow": true} x', b"\xff\xfe"])
def test_what_is_no_json_denies(text: str | bytes) -> None:
    assert "not JSON" in fault(read_request(text))
    assert "not JSON" in fault(read_answer(text))


@pytest.mark.parametrize("text", ['"<undefined>"', "null"])
def test_undefined_denies(text: str) -> None:
    assert "undefined" in fault(read_request(text))
    assert "undefined" in fault(read_answer(text))


@pytest.mark.parametrize(
    ("text", "kind"),
    [("true", "a boolean"), ("1", "a number"), ("1.5", "a number"), ('"yes"', "a string"), ("[true]", "an array")],
)
def test_a_result_of_another_type_denies(text: str, kind: str) -> None:
    assert kind in fault(read_request(text))
    assert kind in fault(read_answer(text))


@pytest.mark.parametrize("value", [None, 0, 1, "true", "", [], [True], {}, {"allow": True}, 1.0])
def test_anything_but_true_does_not_allow(value: object) -> None:
    assert "`allow`" in fault(read_request(orjson.dumps({"allow": value})))
    assert "`allow`" in fault(read_answer(orjson.dumps({"allow": value, "plan": "pass"})))


def test_a_missing_allow_denies() -> None:
    assert "no `allow`" in fault(read_request("{}"))
    assert "no `allow`" in fault(read_answer('{"reasons": []}'))


@pytest.mark.parametrize("key", ["redcat", "Allow", "allow ", "", "plan", "output", "allowed"])
def test_an_unknown_key_of_a_request_denies(key: str) -> None:
    detail = fault(request(**{key: {}}))
    assert "unknown key" in detail


@pytest.mark.parametrize("key", ["redcat", "endpoints", "require_approval", "limits", "body"])
def test_an_unknown_key_of_a_response_denies(key: str) -> None:
    assert f"`{key}`" in fault(answer(**{key: {}}))


def test_a_key_taken_from_the_input_is_not_shown() -> None:
    for key in ("jane@example.org", "4111 1111 1111 1111", "x" * 65, "é"):
        assert key not in fault(request(**{key: 1}))


def test_an_unknown_key_denies_a_denial_as_well() -> None:
    assert "unknown" in fault(read_request('{"allow": false, "reason": "x"}'))


@pytest.mark.parametrize(
    "reasons",
    [
        "why",
        {"detail": "x"},
        None,
        [1],
        [None],
        [["x"]],
        [{}],
        [{"rule": "x"}],
        [{"detail": 1}],
        [{"detail": "x", "fix": None}],
        [{"detail": "x", "hint": "y"}],
        ["x"] * (MAX_REASONS + 1),
    ],
)
def test_reasons_of_another_shape_deny(reasons: object) -> None:
    assert "reason" in fault(request(reasons=reasons))
    assert "reason" in fault(answer(reasons=reasons))


def test_long_reasons_are_cut() -> None:
    decision = request(reasons=["x" * 5_000, {"rule": "r" * 5_000, "detail": "d" * 5_000, "fix": "f" * 5_000}])
    assert [len(text) for reason in decision.reasons for text in (reason.rule, reason.detail, reason.fix)] == [
        0,
        MAX_TEXT,
        0,
        MAX_TEXT,
        MAX_TEXT,
        MAX_TEXT,
    ]


def test_a_reason_leaves_out_its_empty_parts() -> None:
    assert Reason("", "d").as_dict() == {"detail": "d"}
    assert Reason("r", "d", "f").as_dict() == {"rule": "r", "detail": "d", "fix": "f"}


@pytest.mark.parametrize(
    "endpoints", ["eu", None, {"eu": 1}, [1], [None], [["eu"]], ["eu", "us", "eu"], ["x"], ["e"] * (MAX_ENDPOINTS + 1)]
)
def test_endpoints_of_another_shape_deny(endpoints: object) -> None:
    if endpoints == ["x"]:
        assert request(endpoints=endpoints).endpoints == ("x",)
    else:
        assert "endpoints" in fault(request(endpoints=endpoints))


def test_no_endpoint_at_all_denies() -> None:
    assert "no endpoint" in fault(request(endpoints=[]))
    assert read_request('{"allow": false, "endpoints": []}').endpoints == ()


@pytest.mark.parametrize(
    "redact",
    [
        None,
        [],
        "email",
        {"email": "Mask"},
        {"email": ""},
        {"email": None},
        {"email": True},
        {"email": ["mask"]},
        {"email": {"mask": 1}},
        {"email": "tokenize"},
        {"email": "allow"},
        {"e-mail": "mask"},
        {"unreadable": "mask"},
        {"too_long": "drop"},
        {"blocked_pattern:x": "mask"},
        {"": "mask"},
    ],
)
def test_redaction_that_could_not_be_done_denies(redact: object) -> None:
    assert "redact" in fault(request(redact=redact))
    assert "redact" in fault(answer(redact=redact))


@pytest.mark.parametrize("transform", ["mask", "drop", "hash"])
def test_every_finding_type_can_be_redacted(transform: str) -> None:
    redact = dict.fromkeys(FINDINGS, transform)
    assert request(redact=redact).redact == redact
    assert answer(redact=redact).redact == redact


def test_values_are_tokenised_in_requests_only() -> None:
    redact = dict.fromkeys(FINDINGS, "tokenise")
    assert request(redact=redact).redact == redact
    assert "only values of a request are tokenised" in fault(answer(redact={"email": "tokenise"}))


@pytest.mark.parametrize("value", [True, None, 0, "false", [], {}])
def test_approval_is_not_enforced_and_denies(value: object) -> None:
    assert "require_approval" in fault(request(require_approval=value))


@pytest.mark.parametrize("value", [{"tokens": 1}, {"": 0}, [], None, 5, "10"])
def test_limits_are_not_enforced_and_deny(value: object) -> None:
    assert "limits" in fault(request(limits=value))


@pytest.mark.parametrize(
    "labels",
    [
        [],
        None,
        {"a": 1},
        {"a": None},
        {"": "x"},
        {"a" * 65: "x"},
        {"ü": "x"},
        {"a\n": "x"},
        {"a": "x" * (MAX_TEXT + 1)},
        {f"l{place}": "x" for place in range(MAX_LABELS + 1)},
    ],
)
def test_labels_of_another_shape_deny(labels: object) -> None:
    assert "label" in fault(request(labels=labels))
    assert "label" in fault(answer(labels=labels))


@pytest.mark.parametrize("plan", ["", "Pass", "stream", None, 1, True, ["pass"], {"pass": 1}])
def test_another_plan_denies(plan: object) -> None:
    assert "plan" in fault(answer(plan=plan))


def test_the_plan_is_raised_to_what_the_rest_needs() -> None:
    assert answer().plan == "inspect"
    assert answer(plan="pass").plan == "pass"
    assert answer(plan="pass", redact={}).plan == "pass"
    assert answer(plan="pass", redact={"email": "mask"}).plan == "inspect"
    assert answer(plan="pass", output={"block": [{"id": "x", "pattern": "y"}]}).plan == "inspect"
    assert answer(plan="pass", output={"max_chars": 5}).plan == "inspect"
    assert answer(plan="pass", output={"schema": {}}).plan == "buffer"
    assert answer(plan="inspect", output={"schema": {"type": "object"}}).plan == "buffer"
    assert answer(plan="buffer", redact={"email": "mask"}).plan == "buffer"


@pytest.mark.parametrize("chars", [-1, MAX_CHARS + 1, 1.5, 10.0, True, False, "10", None, [10]])
def test_max_chars_of_another_kind_deny(chars: object) -> None:
    assert "max_chars" in fault(answer(output={"max_chars": chars}))


def test_max_chars_may_be_nothing_at_all() -> None:
    assert answer(output={"max_chars": 0}).limits == {"max_chars": 0}


@pytest.mark.parametrize("output", [None, [], "x", {"maxchars": 1}, {"max_chars": 1, "blocks": []}])
def test_output_of_another_shape_denies(output: object) -> None:
    assert "output" in fault(answer(output=output))


@pytest.mark.parametrize(
    "block",
    [
        None,
        "x",
        {"id": "a", "pattern": "b"},
        ["pattern"],
        [{"pattern": "b"}],
        [{"id": "a"}],
        [{"id": "a", "pattern": "b", "flags": "i"}],
        [{"id": 1, "pattern": "b"}],
        [{"id": "", "pattern": "b"}],
        [{"id": "a" * 65, "pattern": "b"}],
        [{"id": "ä", "pattern": "b"}],
        [{"id": "a", "pattern": 1}],
        [{"id": "a", "pattern": ""}],
        [{"id": "a", "pattern": "x*"}],
        [{"id": "a", "pattern": "("}],
        [{"id": "a", "pattern": "(?=x)"}],
        [{"id": "a", "pattern": "b"}, {"id": "a", "pattern": "c"}],
        [{"id": f"p{place}", "pattern": "b"} for place in range(MAX_PATTERNS + 1)],
    ],
)
def test_patterns_that_could_not_be_looked_for_deny(block: object) -> None:
    assert fault(answer(output={"block": block}))


@pytest.mark.parametrize("schema", [None, [], True, {"type": "nonsense"}, {"$ref": "https://example.org/s"}])
def test_a_schema_that_could_not_be_checked_denies(schema: object) -> None:
    assert "output.schema" in fault(answer(output={"schema": schema}))


def test_too_long_a_result_denies() -> None:
    text = orjson.dumps({"allow": True, "reasons": ["x" * MAX_RESULT]})
    assert "longer than" in fault(read_request(text))
    assert "longer than" in fault(read_answer(text))


def test_empty_defaults_cannot_be_changed() -> None:
    for shared in (request().redact, request().labels, request().limits, answer().redact):
        with pytest.raises(TypeError):
            shared["email"] = "mask"  # type: ignore[index]
