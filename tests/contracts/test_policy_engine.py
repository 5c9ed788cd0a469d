"""What every engine that evaluates policy keeps to: only a literal true allows, and no call sees another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from policies.admission import Admission
from policies.engine import AnswerMoment, Moment, PolicyEngine
from policies.errors import PolicyError
from policies.result import AnswerDecision, RequestDecision
from policies.settings import Policy
from tests.support.opa import Elsewhere, bundle_folder, opa_server
from tests.support.policies import MINIMAL, examined

Make = Callable[..., PolicyEngine]


@cache
def _examined(settings: Policy, modules: tuple[tuple[str, str], ...]) -> Admission:
    """The verdict on modules, which several kinds of engine are made of."""
    return examined(None, settings, **dict(modules))


def embedded(settings: Policy | None = None, **modules: str) -> PolicyEngine:
    from policies.embedded import EmbeddedEngine

    settings = settings or Policy()
    admission = _examined(settings, tuple(sorted(modules.items())))
    assert admission.bundle is not None, admission.errors
    return EmbeddedEngine(admission.bundle, settings, admission.reads, admission.uncached)


def combined(**modules: str) -> PolicyEngine:
    """The bundle beside one that allows everything: what it says must hold all the same."""
    from policies.combine import CombinedEngine

    return CombinedEngine(embedded(**modules), embedded())


def watched(**modules: str) -> PolicyEngine:
    """The bundle on a call that another one looks on."""
    from lineage.metrics import Meter
    from policies.shadow.runner import Shadow
    from policies.watched import Mix, Watched

    shadow = Shadow(Policy(), Meter("test"), lambda _: None)
    return Watched(Mix(shadow, embedded(**modules), None, {"r": (None, None)}), "c")


@pytest.fixture(params=["embedded", "combined", "watched", "opa"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes engines of modules by name; those that ask a real OPA server have one each."""
    if request.param != "opa":
        yield {"embedded": embedded, "combined": combined, "watched": watched}[request.param]
        return
    with ExitStack() as stack:

        def opa(**modules: str) -> PolicyEngine:
            server = stack.enter_context(opa_server())
            folder = bundle_folder(tmp_path / str(server.port) / "bundle", **modules)
            engine = Elsewhere(Policy(engine="opa", url=server.url), folder)
            stack.callback(engine.close)
            return engine

        yield opa


def rules(package: str, *lines: str) -> str:
    return "\n".join([f"package cordon.{package}", "", *lines, ""])


def decide(engine: PolicyEngine, document: object) -> RequestDecision:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return asyncio.run(engine.decide(Moment.REQUEST, text))


def test_only_a_literal_true_allows(make: Make) -> None:
    engine = make(request=rules("request", 'decision := {"allow": input.value}'))
    assert decide(engine, {"value": True}).allow is True
    values: list[object] = [False, None, 0, 1, -1, 1.0, "", "true", "True", [], [True], {}, {"allow": True}]
    for value in values:
        decision = decide(engine, {"value": value})
        assert decision.allow is False
        assert value is False or decision.reasons[0].rule == "policy.result"


def test_undefined_denies(make: Make) -> None:
    engine = make(
        request=rules("request", 'decision := {"allow": true} if input.fine'),
        response=rules("response", 'decision := {"allow": true} if input.fine'),
    )
    assert decide(engine, {"fine": True}).allow
    for document in ({}, {"fine": False}, {"other": True}):
        decision = decide(engine, document)
        assert not decision.allow
        assert "undefined" in decision.reasons[0].detail
        for moment in get_args(AnswerMoment):
            answer = asyncio.run(engine.decide(moment, json.dumps(document).encode()))
            assert isinstance(answer, AnswerDecision)
            assert not answer.allow


def test_a_result_that_is_no_object_denies(make: Make) -> None:
    engine = make(request=rules("request", "decision := input.value"))
    results: list[object] = [True, False, None, 1, "allow", ["allow"], "<undefined>", {}, {"allowed": True}]
    for value in results:
        assert not decide(engine, {"value": value}).allow


def test_an_unknown_key_in_the_result_denies(make: Make) -> None:
    engine = make(request=rules("request", 'decision := object.union({"allow": true}, input.more)'))
    assert decide(engine, {"more": {}}).allow
    assert not decide(engine, {"more": {"redcat": {"email": "mask"}}}).allow


def test_an_error_in_a_builtin_denies(make: Make) -> None:
    """OPA would go on with the builtin's call undefined, where `not` turns an error into an allowance."""
    engine = make(request=rules("request", 'decision := {"allow": true} if not to_number(input.value) == 5'))
    assert decide(engine, {"value": "6"}).allow
    assert not decide(engine, {"value": "5"}).allow
    with pytest.raises(PolicyError):
        decide(engine, {"value": "junk"})


def test_an_error_names_the_place_and_shows_no_value(make: Make) -> None:
    engine = make(request=rules("request", 'decision := {"allow": true} if to_number(input.value) == 5'))
    with pytest.raises(PolicyError, match=r"request\.rego:3") as caught:
        decide(engine, {"value": "jane@example.org"})
    assert "jane" not in str(caught.value)


def test_a_call_after_an_error_is_decided_as_any_other(make: Make) -> None:
    engine = make(request=rules("request", 'decision := {"allow": true} if to_number(input.value) == 5'))
    for _ in range(20):
        with pytest.raises(PolicyError):
            decide(engine, {"value": "junk"})
        assert decide(engine, {"value": "5"}).allow
        assert not decide(engine, {"value": "6"}).allow
        assert not decide(engine, {}).allow


def test_nothing_of_a_call_reaches_the_next(make: Make) -> None:
    engine = make(
        request=rules(
            "request",
            "known contains name if some name in input.names",
            'labels[name] := "seen" if some name in input.names',
            'decision := {"allow": "admin" in known, "labels": labels}',
        )
    )
    assert decide(engine, {"names": ["admin", "jane"]}).labels == {"admin": "seen", "jane": "seen"}
    alone = decide(engine, {"names": ["john"]})
    assert not alone.allow
    assert alone.labels == {"john": "seen"}
    assert decide(engine, {}).labels == {}
    assert not decide(engine, {}).allow


def test_two_engines_share_nothing(make: Make) -> None:
    open_, closed = make(), make(request=rules("request", 'decision := {"allow": false}'))
    for _ in range(3):
        assert decide(open_, {}).allow
        assert not decide(closed, {}).allow
    assert open_.revision != closed.revision


@pytest.mark.parametrize("number", ["9007199254740993", "-9007199254740993", "1e400", "0.1000000000000000055", "1e99"])
def test_a_number_is_compared_exactly_or_not_decided_upon(make: Make, number: str) -> None:
    """A double would be rounded to 9007199254740992 in some of these, and then this rule denied."""
    engine = make(request=rules("request", 'decision := {"allow": true} if input.parsed_body.n != 9007199254740992'))
    assert decide(engine, {"parsed_body": {"n": 1}}).allow
    for place in (
        '{"parsed_body":{"n":%s}}',
        '{"parsed_body":{"n":1},"x":[[ %s]]}',
        '{"x":\n%s,"parsed_body":{"n":1}}',
    ):
        try:
            assert decide(engine, (place % number).encode()).allow
        except PolicyError as error:
            assert "exactly" in str(error) or "not JSON" in str(error)


def test_numbers_as_text_and_those_within_reach_are_decided_upon(make: Make) -> None:
    engine = make(request=rules("request", 'decision := {"allow": input.n == input.m}'))
    assert decide(engine, b'{"n": 9007199254740992, "m": 9007199254740992}').allow
    assert not decide(engine, b'{"n": 9007199254740992, "m": 9007199254740991}').allow
    assert decide(engine, b'{"n": "9007199254740993", "m": "9007199254740993"}').allow
    assert not decide(engine, b'{"n": "9007199254740993", "m": "9007199254740992"}').allow
    assert decide(engine, b'{"n": 0.25, "m": 2.5e-1}').allow


@pytest.mark.parametrize("document", [b"", b"{", b"nonsense", b'{"a":1}}', b"\xff", b'{"a": "\xed\xa0\x80"}', b"NaN"])
def test_what_is_no_json_is_not_decided_upon(make: Make, document: bytes) -> None:
    engine = make()
    with pytest.raises(PolicyError):
        decide(engine, document)
    assert decide(engine, {}).allow


def test_deep_documents_are_decided_or_refused(make: Make) -> None:
    engine = make(request=rules("request", 'decision := {"allow": true} if input.fine'))
    for depth in (10, 100, 1_000, 100_000):
        document = b'{"fine":false,"body":' + b"[" * depth + b"]" * depth + b"}"
        try:
            assert not decide(engine, document).allow
        except PolicyError:
            assert depth > 50


def test_answers_are_decided_by_the_response_rule(make: Make) -> None:
    engine = make(
        request=rules("request", 'decision := {"allow": false}'),
        response=rules("response", 'decision := {"allow": input.phase == "finding", "plan": "buffer"}'),
    )
    asked = {
        moment: asyncio.run(engine.decide(moment, json.dumps({"phase": moment}).encode()))
        for moment in get_args(AnswerMoment)
    }
    assert {moment: decision.allow for moment, decision in asked.items()} == {
        Moment.ANSWER_HEAD: False,
        Moment.FINDING: True,
        Moment.ANSWER_END: False,
    }
    assert not decide(engine, {"phase": "finding"}).allow


def test_an_engine_says_what_it_reads(make: Make) -> None:
    engine = make(
        request=rules("request", 'decision := {"allow": input.tenant.id in {c.id | some c in input.candidates}}')
    )
    assert engine.request_reads == frozenset({"tenant.id", "candidates"})
    assert engine.answer_reads == frozenset()


def test_an_engine_that_may_read_anything_says_so(make: Make) -> None:
    engine = make(request=rules("request", 'decision := {"allow": input[data.key] == 1}'))
    assert engine.request_reads is None
    whole = make(response=rules("response", "everything := input", 'decision := {"allow": everything.x == 1}'))
    assert whole.answer_reads is None


def test_an_engine_says_whether_it_may_tokenise(make: Make) -> None:
    assert make(request=rules("request", 'decision := {"allow": true, "redact": {"email": "tokenise"}}')).tokenises
    assert not make(request=rules("request", "# nothing to tokenise", 'decision := {"allow": true}')).tokenises


def test_the_same_document_gets_the_same_decision_each_time(make: Make) -> None:
    engine = make(request=rules("request", 'decision := {"allow": count(input.names) % 2 == 0, "labels": {"a": "b"}}'))
    documents: list[dict[str, Any]] = [{"names": [str(place) for place in range(many)]} for many in range(6)]
    first = [decide(engine, document) for document in documents]
    assert [decision.allow for decision in first] == [True, False] * 3
    assert [decide(engine, document) for document in documents] == first


def test_time_is_read_anew_for_each_call(make: Make) -> None:
    engine = make(
        request=rules("request", 'decision := {"allow": true, "labels": {"at": sprintf("%d", [time.now_ns()])}}')
    )
    assert len({decide(engine, {}).labels["at"] for _ in range(5)}) > 1


def test_the_revision_is_that_of_the_content(make: Make) -> None:
    assert make().revision == make(**{name.removesuffix(".rego"): text for name, text in MINIMAL.items()}).revision
    assert make().revision != make(response=rules("response", 'decision := {"allow": false}')).revision
