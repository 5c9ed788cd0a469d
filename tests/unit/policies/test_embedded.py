"""The embedded engine: what it remembers, what it forgets, and how it fails."""

from __future__ import annotations

import random
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.bundle import load_bundle
from policies.embedded import EmbeddedEngine, build
from policies.engine import Moment
from policies.errors import BundleError, PolicyError
from policies.remembered import LONGEST
from policies.result import AnswerDecision, RequestDecision
from policies.settings import Policy
from tests.support.policies import (
    REQUEST_RULE,
    SETTINGS,
    STARTER,
    answer_document,
    as_json,
    ask,
    ask_answer,
    bundle,
    damaged,
    examined,
    request_document,
)

CLOCK = """package cordon.request

decision := {"allow": true, "labels": {"at": sprintf("%d", [time.now_ns()])}}
"""
PICKY = """package cordon.request

decision := {"allow": true} if to_number(input.value) == 5
"""
ECHO = """package cordon.request

decision := {"allow": true, "labels": {"name": input.name}}
"""


class Counting(EmbeddedEngine):
    """Counts what is really evaluated."""

    evaluated = 0

    def evaluate(self, rule: str, document: bytes) -> str:
        self.evaluated += 1
        return super().evaluate(rule, document)


def steady(**modules: str) -> Counting:
    return Counting(bundle(None, **modules), SETTINGS, uncached={})


def test_a_steady_bundle_decides_the_same_document_once() -> None:
    engine = steady(request=ECHO)
    first = ask(engine, {"name": "a"})
    assert ask(engine, {"name": "a"}) is first
    assert ask(engine, {"name": "b"}).labels == {"name": "b"}
    assert engine.evaluated == 2


def test_a_bundle_that_is_not_steady_is_asked_each_time() -> None:
    engine = Counting(bundle(request=ECHO), SETTINGS)
    for _ in range(3):
        ask(engine, {"name": "a"})
    assert engine.evaluated == 3


def test_a_bundle_that_reads_the_time_is_not_remembered() -> None:
    admission = examined(request=CLOCK)
    assert admission.bundle is not None
    assert {rule: problem.code for rule, problem in admission.uncached.items()} == {REQUEST_RULE: "changing"}
    assert [problem.code for problem in admission.problems] == ["changing"]
    engine = EmbeddedEngine(admission.bundle, SETTINGS, admission.reads, admission.uncached)
    assert len({ask(engine, {}).labels["at"] for _ in range(10)}) > 1


@pytest.mark.parametrize("call", ["time.now_ns() > 0", 'rand.intn("x", 10) >= 0', 'uuid.rfc4122("x") != ""'])
def test_whatever_changes_from_call_to_call_is_noticed(call: str) -> None:
    admission = examined(request=f'package cordon.request\n\ndecision := {{"allow": true}} if {call}\n')
    assert admission.errors == ()
    assert admission.uncached[REQUEST_RULE].code == "changing"


def test_requests_and_answers_are_not_mixed_up() -> None:
    engine = steady(response='package cordon.response\n\ndecision := {"allow": false, "plan": "buffer"}\n')
    assert ask(engine, {}) == RequestDecision(True)
    assert ask_answer(engine, {}) == AnswerDecision(False, plan="buffer")
    assert ask(engine, {}) == RequestDecision(True)
    assert ask_answer(engine, {}, Moment.ANSWER_END) == AnswerDecision(False, plan="buffer")


def test_the_moments_of_an_answer_differ_by_their_document() -> None:
    engine = steady(response='package cordon.response\n\ndecision := {"allow": input.phase == "finding"}\n')
    for _ in range(2):
        assert ask_answer(engine, {"phase": "finding"}, Moment.FINDING).allow
        assert not ask_answer(engine, {"phase": "answer_end"}, Moment.ANSWER_END).allow


def test_long_documents_are_not_remembered() -> None:
    engine = steady(request=ECHO)
    for size, evaluations in ((LONGEST, 1), (LONGEST + 1, 2)):
        document = as_json({"name": "a", "pad": ""})
        document = as_json({"name": "a", "pad": "x" * (size - len(document))})
        assert len(document) == size
        engine.evaluated = 0
        ask(engine, document)
        ask(engine, document)
        assert engine.evaluated == evaluations


def test_a_failure_is_not_remembered() -> None:
    engine = steady(request=PICKY)
    for _ in range(3):
        with pytest.raises(PolicyError):
            ask(engine, {"value": "junk"})
        assert ask(engine, {"value": "5"}).allow
    assert engine.evaluated == 4


@pytest.fixture(scope="module")
def starters() -> tuple[EmbeddedEngine, EmbeddedEngine]:
    """The starter bundle in an engine that remembers and in one that does not."""
    kept, fresh = load_bundle(STARTER), load_bundle(STARTER)
    return EmbeddedEngine(kept, SETTINGS, uncached={}), EmbeddedEngine(fresh, SETTINGS)


def outcome(engine: EmbeddedEngine, document: dict[str, Any]) -> object:
    try:
        return ask(engine, document) if document.get("phase") == "request" else ask_answer(engine, document)
    except PolicyError as error:
        return str(error)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=12))
def test_remembered_decisions_are_those_of_a_fresh_engine(
    starters: tuple[EmbeddedEngine, EmbeddedEngine], seeds: list[int]
) -> None:
    remembering, fresh = starters
    for seed in [*seeds, *reversed(seeds)]:
        dice = random.Random(seed)
        document = (request_document, answer_document)[seed % 2](dice)
        if seed % 5 == 0:
            document = damaged(dice, document)
        assert outcome(remembering, document) == outcome(fresh, document)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(string.printable, max_size=60).map(str.encode))
def test_junk_is_refused_and_leaves_the_engine_whole(
    starters: tuple[EmbeddedEngine, EmbeddedEngine], junk: bytes
) -> None:
    _, engine = starters
    try:
        assert not ask(engine, junk).allow
    except PolicyError as error:
        assert str(error)
    assert not ask(engine, {}).allow


def test_an_engine_that_breaks_down_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """The binding raises what does not derive from Exception when the engine panics."""

    class PanicException(BaseException):
        pass

    class Broken:
        def set_input_json(self, _: str) -> None:
            raise PanicException("jane@example.org")

    engine = EmbeddedEngine(bundle(), SETTINGS)
    monkeypatch.setattr(engine, "_engine", Broken())
    with pytest.raises(PolicyError, match="broke down") as caught:
        ask(engine, {})
    assert "jane" not in str(caught.value)
    assert ask(engine, {}).allow


def test_an_interruption_is_not_taken_for_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def set_input_json(self, _: str) -> None:
            raise KeyboardInterrupt

    engine = EmbeddedEngine(bundle(), SETTINGS)
    monkeypatch.setattr(engine, "_engine", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        ask(engine, {})


def test_a_conflict_denies() -> None:
    conflict = 'package cordon.request\n\ndecision := {"allow": true}\n\ndecision := {"allow": false} if input.x\n'
    engine = EmbeddedEngine(bundle(request=conflict), SETTINGS)
    assert ask(engine, {}).allow
    with pytest.raises(PolicyError, match=r"request\.rego"):
        ask(engine, {"x": 1})
    assert ask(engine, {}).allow


def test_answers_may_pass_undecided_only_where_that_is_configured() -> None:
    files = {"request.rego": 'package cordon.request\n\ndecision := {"allow": true}\n'}
    assert ask_answer(EmbeddedEngine(bundle(files), Policy(unsafe_pass_answers=True)), {}) == AnswerDecision(True)
    with pytest.raises(PolicyError):
        ask_answer(EmbeddedEngine(bundle(files), Policy()), {})


def test_a_rule_that_is_not_there_denies() -> None:
    engine = EmbeddedEngine(bundle(), Policy(request_rule="data.elsewhere.decision"))
    with pytest.raises(PolicyError):
        ask(engine, {})


def test_bundles_for_envoy_are_read_as_such() -> None:
    files = {"authz.rego": 'package envoy.authz\n\nallow if input.attributes.request.http.method == "GET"\n'}
    policy = Policy(request_rule="data.envoy.authz.allow", result_style="opa-envoy", unsafe_pass_answers=True)
    engine = EmbeddedEngine(bundle(files), policy)
    assert ask(engine, {"attributes": {"request": {"http": {"method": "GET"}}}}).allow
    assert not ask(engine, {"attributes": {"request": {"http": {"method": "PUT"}}}}).allow
    assert not ask(engine, {}).allow
    cordon = EmbeddedEngine(bundle(files), Policy(request_rule="data.envoy.authz.allow"))
    assert not ask(cordon, {"attributes": {"request": {"http": {"method": "GET"}}}}).allow


def test_what_does_not_parse_is_named_by_its_place() -> None:
    broken = bundle({"a.rego": "package a\n\nx := {\n", "b.rego": "package b\n\ny if {\n  1 ==\n}\n"})
    with pytest.raises(BundleError) as caught:
        build(broken)
    assert [problem.file for problem in caught.value.problems] == ["a.rego", "b.rego"]
    assert all(problem.line and problem.code == "parse" for problem in caught.value.problems)


def test_what_does_not_compile_is_refused() -> None:
    with pytest.raises(BundleError):
        build(bundle(request="package cordon.request\n\ndecision := x if unknown\n"))


def test_the_data_is_there() -> None:
    files = {
        "request.rego": 'package cordon.request\n\ndecision := {"allow": data.team.open}\n',
        "team/data.json": '{"open": true}',
    }
    assert ask(EmbeddedEngine(bundle(files), SETTINGS), {}).allow
