"""Whatever an engine gives back, reading it never raises, and only what keeps the contract allows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.envoy import read_envoy
from policies.result import (
    FINDINGS,
    PLANS,
    TOKENISE,
    TRANSFORMS,
    AnswerDecision,
    RequestDecision,
    read_answer,
    read_request,
)
from policies.shapes import check_pattern, check_schema

Read = Callable[[str | bytes], RequestDecision | AnswerDecision]
READERS: list[Read] = [read_request, read_answer, read_envoy]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["mask", "drop", "hash", "tokenise", "pass", "inspect", "buffer", "<undefined>", "(", "a*"])
)
KEYS = st.text(max_size=10) | st.sampled_from(
    ["allow", "allowed", "reasons", "endpoints", "redact", "labels", "plan", "output", "limits", "require_approval",
     "block", "schema", "max_chars", "id", "pattern", "rule", "detail", "fix", "$ref", "email", "payment_card", "type"]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=15
)
REASON = st.text(max_size=20) | st.fixed_dictionaries({"detail": st.text(max_size=20)}, optional={"rule": st.text()})
GOOD_REQUEST = st.fixed_dictionaries(
    {"allow": st.booleans()},
    optional={
        "reasons": st.lists(REASON, max_size=4),
        "endpoints": st.lists(st.text(max_size=8), min_size=1, max_size=4, unique=True),
        "redact": st.dictionaries(st.sampled_from(sorted(FINDINGS)), st.sampled_from(sorted(TRANSFORMS | {TOKENISE}))),
        "labels": st.dictionaries(st.sampled_from(["a", "team-1"]), st.text(max_size=8)),
        "require_approval": st.just(False),
        "limits": st.just({}),
    },
)
GOOD_ANSWER = st.fixed_dictionaries(
    {"allow": st.booleans()},
    optional={
        "reasons": st.lists(REASON, max_size=4),
        "redact": st.dictionaries(st.sampled_from(sorted(FINDINGS)), st.sampled_from(sorted(TRANSFORMS))),
        "plan": st.sampled_from(PLANS),
        "output": st.fixed_dictionaries(
            {},
            optional={
                "max_chars": st.integers(0, 1_000),
                "block": st.just([{"id": "a", "pattern": "b+"}]),
                "schema": st.just({"type": "object"}),
            },
        ),
    },
)


def junk(read: Read, text: str | bytes) -> None:
    """Reading junk gives a decision, and one that allows only for what a strict look allows too."""
    decision = read(text)
    assert type(decision.allow) is bool
    if decision.allow:
        value = json.loads(text)
        assert value is True or value.get("allow") is True or (read is read_envoy and value["allowed"] is True)
        _enforceable(decision)
    else:
        assert all(reason.detail is not None for reason in decision.reasons)


def _enforceable(decision: RequestDecision | AnswerDecision) -> None:
    assert set(decision.redact) <= FINDINGS
    transforms = TRANSFORMS | {TOKENISE} if isinstance(decision, RequestDecision) else TRANSFORMS
    assert set(decision.redact.values()) <= transforms
    assert all(isinstance(name, str) and isinstance(text, str) for name, text in decision.labels.items())
    if isinstance(decision, RequestDecision):
        assert decision.endpoints != ()
        assert decision.require_approval is False
        assert not decision.limits
        return
    assert decision.plan in PLANS
    assert all(check_pattern(each.pattern) == "" for each in decision.block)
    assert decision.schema is None or (check_schema(decision.schema) == "" and decision.plan == "buffer")
    if decision.redact or decision.block or decision.limits:
        assert decision.plan != "pass"


@pytest.mark.parametrize("read", READERS)
@given(raw=st.binary(max_size=200) | st.text(max_size=200))
def test_junk_never_raises(read: Read, raw: str | bytes) -> None:
    junk(read, raw)


@pytest.mark.parametrize("read", READERS)
@given(value=VALUES)
def test_any_json_is_read(read: Read, value: object) -> None:
    junk(read, json.dumps(value))
    junk(read, json.dumps({"allow": True, "x": value}))


@pytest.mark.parametrize("read", READERS)
@given(value=st.dictionaries(KEYS, VALUES, max_size=4))
def test_an_allowance_with_anything_beside_it_is_read(read: Read, value: dict[str, object]) -> None:
    junk(read, json.dumps({"allow": True, **value}))
    junk(read, json.dumps({"allowed": True, **value}))


@given(value=GOOD_REQUEST)
def test_good_requests_are_read_as_they_are(value: dict[str, Any]) -> None:
    decision = read_request(json.dumps(value))
    assert decision.allow is value["allow"]
    assert decision.redact == value.get("redact", {})
    assert decision.endpoints == (tuple(value["endpoints"]) if "endpoints" in value else None)
    assert len(decision.reasons) == len(value.get("reasons", []))


@given(value=GOOD_ANSWER)
def test_good_answers_are_read_as_they_are(value: dict[str, Any]) -> None:
    decision = read_answer(json.dumps(value))
    assert decision.allow is value["allow"]
    assert decision.redact == value.get("redact", {})
    assert len(decision.block) == len(value.get("output", {}).get("block", []))
    _enforceable(decision)


@given(value=GOOD_REQUEST, key=KEYS, bad=VALUES)
def test_one_part_amiss_never_allows_more(value: dict[str, Any], key: str, bad: object) -> None:
    """A good result with one part replaced by anything: allowed only if that part is read for what it is."""
    decision = read_request(json.dumps(value | {key: bad}))
    if decision.allow:
        assert key in ("allow", "reasons", "endpoints", "redact", "labels", "require_approval", "limits")
        assert (bad if key == "allow" else value["allow"]) is True
        _enforceable(decision)


@pytest.mark.parametrize("read", READERS)
@given(value=GOOD_REQUEST | GOOD_ANSWER, cut=st.integers(0, 400))
def test_a_result_cut_short_never_allows(read: Read, value: dict[str, Any], cut: int) -> None:
    text = json.dumps(value)
    if cut < len(text):
        assert read(text[:cut]).allow is False


@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
@pytest.mark.parametrize("read", READERS)
def test_depth_never_raises(read: Read, depth: int) -> None:
    junk(read, '{"allow": true, "x": ' + "[" * depth + "]" * depth + "}")
    junk(read, '{"allow": true, "output": {"schema": ' + '{"not": ' * depth + "{}" + "}" * (depth + 2))
