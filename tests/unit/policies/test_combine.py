"""Two bundles decide as the stricter of both, whoever of them is the stricter in what."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.combine import CombinedEngine, asks_more, combine_answers, combine_requests
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import PolicyError
from policies.result import FINDINGS, PLANS, AnswerDecision, BlockPattern, Reason, RequestDecision
from policies.settings import Policy
from tests.support.policies import bundle

STRICTER = ("left", "tokenise", "hash", "mask", "drop")

texts = st.sampled_from(["", "a", "b", "tenant:a"])
reasons = st.lists(st.builds(Reason, texts, texts), max_size=3).map(tuple)
names = st.sampled_from(["e1", "e2", "e3"])
labels = st.dictionaries(st.sampled_from("xyz"), texts, max_size=3)
endpoints = st.none() | st.lists(names, min_size=1, max_size=3, unique=True).map(tuple)


def redactions(*transforms: str) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(sorted(FINDINGS)), st.sampled_from(transforms), max_size=4)


requests = st.builds(
    RequestDecision,
    st.booleans(),
    reasons,
    endpoints,
    redactions("mask", "drop", "hash", "tokenise"),
    st.booleans(),
    labels,
)
schemas = st.none() | st.sampled_from(
    [{"const": 1}, {"const": True}, {"type": "object"}, {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}]
)
answers = st.builds(
    AnswerDecision,
    st.booleans(),
    reasons,
    redactions("mask", "drop", "hash"),
    labels,
    st.sampled_from(PLANS),
    st.just({}) | st.builds(lambda most: {"max_chars": most}, st.integers(0, 9)),
    st.lists(st.sampled_from([BlockPattern("a", "x"), BlockPattern("a", "y"), BlockPattern("b", "x")])).map(tuple),
    schemas,
)


def how(decision: RequestDecision | AnswerDecision, finding: str) -> int:
    return STRICTER.index(decision.redact.get(finding, "left"))


@given(requests, requests)
def test_nothing_is_allowed_that_either_refuses(common: RequestDecision, own: RequestDecision) -> None:
    both = combine_requests(common, own)
    assert not both.allow or (common.allow and own.allow)
    assert both.require_approval == (common.require_approval or own.require_approval)
    for finding in FINDINGS:
        assert how(both, finding) == max(how(common, finding), how(own, finding))
    for name in ("e1", "e2", "e3"):
        named = [each.endpoints is None or name in each.endpoints for each in (common, own)]
        assert (both.endpoints is None or name in both.endpoints) == all(named)
    assert not both.allow or both.endpoints != ()
    if common.endpoints is not None and both.endpoints is not None:
        assert list(both.endpoints) == [name for name in common.endpoints if name in both.endpoints]
    assert {**both.labels, **common.labels} == both.labels
    assert both.labels.keys() == {*common.labels, *own.labels}


@given(answers, answers)
def test_an_answer_must_keep_what_either_demands(common: AnswerDecision, own: AnswerDecision) -> None:
    both = combine_answers(common, own)
    assert not both.allow or (common.allow and own.allow)
    assert PLANS.index(both.plan) == max(PLANS.index(common.plan), PLANS.index(own.plan))
    assert set(both.block) == {*common.block, *own.block}
    limits = [each.limits["max_chars"] for each in (common, own) if each.limits]
    assert both.limits.get("max_chars") == min(limits, default=None)
    for finding in FINDINGS:
        assert how(both, finding) == max(how(common, finding), how(own, finding))
    if both.allow:
        # What either says again at a later moment is no more than was planned.
        assert not any(asks_more(each, both) for each in (common, own, both, AnswerDecision(True)))


@given(requests, requests)
def test_each_reason_says_whose_it_is(common: RequestDecision, own: RequestDecision) -> None:
    told = [reason.rule for reason in combine_requests(common, own).reasons]
    assert set(told) >= {reason.rule for reason in common.reasons}
    assert set(told) >= {f"tenant:{reason.rule}" if reason.rule else "tenant" for reason in own.reasons}
    if common.allow and not own.allow:
        assert told[0].startswith("tenant")
    if common.allow and own.allow:
        assert ("policy.combined" in told) == (not combine_requests(common, own).allow)


def test_bundles_that_have_no_endpoint_in_common_refuse() -> None:
    both = combine_requests(RequestDecision(True, endpoints=("eu",)), RequestDecision(True, endpoints=("us",)))
    assert not both.allow
    assert both.reasons[0].rule == "policy.combined"


def test_two_schemas_must_both_hold() -> None:
    number, positive = {"type": "number"}, {"minimum": 1}
    both = combine_answers(AnswerDecision(True, schema=number), AnswerDecision(True, schema=positive))
    assert both.allow
    assert both.schema == {"allOf": [number, positive]}
    assert not asks_more(AnswerDecision(True, schema=positive), both)
    assert asks_more(AnswerDecision(True, schema={"minimum": 2}), both)


@pytest.mark.parametrize(
    "other",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
        {"properties": {"x": {"$dynamicRef": "#a"}}},
        {"enum": ["x" * 16_300]},
    ],
)
def test_schemas_that_do_not_go_together_refuse(other: dict[str, Any]) -> None:
    for pair in itertools.permutations([AnswerDecision(True, schema={"enum": ["y" * 200]}),
                                        AnswerDecision(True, schema=other)]):  # fmt: skip
        both = combine_answers(*pair)
        assert not both.allow
        assert both.reasons[0].rule == "policy.combined"
        assert "schema" in both.reasons[0].detail


def test_a_true_is_not_taken_for_a_one() -> None:
    """In Python they are equal, and one of two schemas would have been lost."""
    one, true = {"const": 1}, {"const": True}
    both = combine_answers(AnswerDecision(True, schema=one), AnswerDecision(True, schema=true))
    assert both.schema is not None
    assert json.dumps(both.schema) == '{"allOf": [{"const": 1}, {"const": true}]}'
    assert asks_more(AnswerDecision(True, schema=true), AnswerDecision(True, schema=one))


def test_a_later_decision_may_ask_for_less_than_was_planned_and_not_for_more() -> None:
    planned = AnswerDecision(True, plan="inspect", limits={"max_chars": 5}, block=(BlockPattern("a", "x"),))
    assert not asks_more(AnswerDecision(True, plan="pass", limits={"max_chars": 9}), planned)
    assert asks_more(AnswerDecision(True, limits={"max_chars": 4}), planned)
    assert asks_more(AnswerDecision(True, limits={"max_words": 9}), planned)
    assert asks_more(AnswerDecision(True, plan="buffer"), planned)
    assert asks_more(AnswerDecision(True, block=(BlockPattern("a", "y"),)), planned)
    assert asks_more(AnswerDecision(True, schema={}), planned)


def engine(rule: str, reads: dict[str, frozenset[str] | None] | None = None) -> EmbeddedEngine:
    return EmbeddedEngine(bundle(request=f"package cordon.request\n\ndecision := {rule}\n"), Policy(), reads)


def test_an_error_of_either_refuses() -> None:
    fails = '{"allow": true} if to_number(input.x) == 1'
    for pair in ((fails, '{"allow": true}'), ('{"allow": true}', fails)):
        both = CombinedEngine(*map(engine, pair))
        assert asyncio.run(both.decide(Moment.REQUEST, b'{"x": "1"}')).allow
        with pytest.raises(PolicyError):
            asyncio.run(both.decide(Moment.REQUEST, b'{"x": "junk"}'))


def test_it_reads_what_either_reads() -> None:
    rule, allow = Policy().request_rule, '{"allow": true}'
    one, other = engine(allow, {rule: frozenset({"a"})}), engine(allow, {rule: frozenset({"b.c"})})
    assert CombinedEngine(one, other).request_reads == {"a", "b.c"}
    assert CombinedEngine(one, engine(allow)).request_reads is None
    assert CombinedEngine(one, other).answer_reads is None
    both = CombinedEngine(one, engine('{"allow": true, "redact": {"email": "tokenise"}}'))
    assert both.tokenises
    assert both.revision == one.revision
    assert both.tenant_revision not in {"", one.revision}


allows = st.sampled_from(["true", "false", "input.x", "null", '"true"'])
extras = st.sampled_from(["", ', "endpoints": ["a"]', ', "redcat": {}', ', "redact": {"email": "mask"}'])


@settings(max_examples=20)
@given(st.tuples(allows, extras), st.tuples(allows, extras), st.booleans())
def test_two_engines_allow_what_each_of_them_allows(one: tuple[str, str], other: tuple[str, str], value: bool) -> None:
    engines = [engine(f'{{"allow": {allow}{extra}}}') for allow, extra in (one, other)]
    document = json.dumps({"x": value}).encode()
    alone = [asyncio.run(each.decide(Moment.REQUEST, document)).allow for each in engines]
    assert asyncio.run(CombinedEngine(*engines).decide(Moment.REQUEST, document)).allow == all(alone)
