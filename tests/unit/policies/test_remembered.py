"""Remembered decisions are those that evaluating gives: over reloads, for look-alike keys, and within their memory."""

from __future__ import annotations

import gc
import json
import tracemalloc
import unicodedata
from functools import cache

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from lineage.metrics import Meter
from policies.admission import Admission
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import PolicyError
from policies.remembered import LONGEST
from policies.settings import Policy
from tests.support.policies import REQUEST_RULE, RESPONSE_RULE, SETTINGS, examined

REQUEST = """package cordon.request

decision := {"allow": true, "labels": {"way": WAY, "kind": type_name(input.value), "is": json.marshal(input.value)}}
"""
RESPONSE = """package cordon.response

decision := {"allow": input.phase != "finding", "plan": PLAN}
"""
MEGABYTE = 1 << 20


@cache
def admitted(way: str, plan: str) -> Admission:
    request, response = REQUEST.replace("WAY", f'"{way}"'), RESPONSE.replace("PLAN", f'"{plan}"')
    admission = examined(request=request, response=response)
    assert admission.bundle is not None
    assert admission.uncached == {}
    return admission


def engine(
    admission: Admission, *, remembers: bool = True, meter: Meter | None = None, most: int = MEGABYTE
) -> EmbeddedEngine:
    assert admission.bundle is not None
    policy = Policy(cache_bytes=most)
    return EmbeddedEngine(admission.bundle, policy, admission.reads, admission.uncached if remembers else None, meter)


def outcome(asked: EmbeddedEngine, moment: Moment, document: bytes) -> object:
    try:
        return asked.decide_now(moment, document)
    except PolicyError as error:
        return str(error)


DOCUMENTS = (
    st.recursive(
        st.sampled_from(
            [1, 1.0, 0, -0.0, 10**16, True, False, None, "1", "a", "", "é", unicodedata.normalize("NFD", "é")]
        )
        | st.text(max_size=3),
        lambda below: st.lists(below, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), below, max_size=2),
        max_leaves=4,
    )
    .map(lambda value: json.dumps({"phase": "request", "value": value}))
    .map(str.encode)
)
BUNDLES = (("a", "pass"), ("b", "inspect"), ("b", "buffer"))


class Reloads(RuleBasedStateMachine):
    """An engine that remembers beside one that does not, while bundles come and go and come back."""

    def __init__(self) -> None:
        super().__init__()
        self.meter = Meter("w")
        self.asked: list[tuple[Moment, bytes]] = []
        self.bundle = admitted(*BUNDLES[0])
        self.engine = engine(self.bundle, meter=self.meter, most=16_384)
        self.fresh = engine(self.bundle, remembers=False)
        self.before: list[tuple[EmbeddedEngine, EmbeddedEngine]] = []

    @rule(which=st.sampled_from(BUNDLES))
    def reload(self, which: tuple[str, str]) -> None:
        self.before.append((self.engine, self.fresh))
        old, self.bundle = self.engine, admitted(*which)
        self.engine = engine(self.bundle, meter=self.meter, most=16_384)
        self.fresh = engine(self.bundle, remembers=False)
        old.close()

    @rule(moment=st.sampled_from(list(Moment)), document=DOCUMENTS)
    def decide(self, moment: Moment, document: bytes) -> None:
        self.asked.append((moment, document))
        for _ in range(2):
            assert outcome(self.engine, moment, document) == outcome(self.fresh, moment, document)

    @rule(moment=st.sampled_from(list(Moment)), pick=st.integers(0, 1_000))
    def decide_again(self, moment: Moment, pick: int) -> None:
        """What was asked before, also at another moment, of this bundle and of those before."""
        if self.asked:
            _, document = self.asked[pick % len(self.asked)]
            for remembering, fresh in [(self.engine, self.fresh), *self.before[-2:]]:
                assert outcome(remembering, moment, document) == outcome(fresh, moment, document)

    def teardown(self) -> None:
        self.engine.close()
        for name in ("request", "response"):
            assert self.meter.gauge("cordon_policy_cache_entries", name).value == 0
            assert self.meter.gauge("cordon_policy_cache_bytes", name).value == 0


TestReloads = Reloads.TestCase
TestReloads.settings = settings(deadline=None, max_examples=12, stateful_step_count=20)

COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")


@pytest.mark.parametrize(
    "values",
    [
        ("1", "1.0", "1e0", "10e-1", "true", '"1"'),
        ('"a"', '["a"]', '[["a"]]', '{"a": 1}'),
        ("[1, 2]", "[2, 1]", "[1]", "[12]", '["1, 2"]'),
        ("0", "-0", "false", "null", '""', "[]", "{}"),
        (f'"{COMPOSED}"', f'"{DECOMPOSED}"', '"\\u00e9"', '"e\\u0301"'),
        ('"\\u0000"', '"\\u0000\\u0000"', '"0"'),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', '{"a": 2, "b": 1}'),
        ('{"a": 1, "a": 2}', '{"a": 2, "a": 1}', '{"a": 2}', '{"a": 1}'),
    ],
)
def test_documents_that_look_alike_are_not_taken_for_each_other(values: tuple[str, ...]) -> None:
    remembering, fresh = (engine(admitted("a", "pass"), remembers=remembers) for remembers in (True, False))
    documents = [f'{{"phase": "request", "value": {value}}}'.encode() for value in values]
    for document in [*documents, *reversed(documents)]:
        assert outcome(remembering, Moment.REQUEST, document) == outcome(fresh, Moment.REQUEST, document)


def test_a_document_of_one_entry_point_is_no_answer_of_the_other() -> None:
    asked, document = engine(admitted("a", "buffer")), b'{"phase": "finding", "value": 1}'
    assert asked.decide_now(Moment.REQUEST, document).allow
    assert not asked.decide_now(Moment.FINDING, document).allow
    assert asked.decide_now(Moment.REQUEST, document).allow


def test_hits_and_misses_are_counted_by_moment_and_what_is_passed_by_its_reason() -> None:
    meter = Meter("w")
    asked = engine(admitted("a", "pass"), meter=meter)
    for value in ("1", "1", "2", f'"{"x" * LONGEST}"'):
        asked.decide_now(Moment.REQUEST, b'{"value": %s}' % value.encode())
    assert _count(meter, "hits") == 1
    assert _count(meter, "misses") == 2
    assert meter.counter("cordon_policy_cache_passed_total", "request", "long").value == 1
    assert meter.gauge("cordon_policy_cache_entries", "request").value == 2
    assert meter.gauge("cordon_policy_cache_entries", "response").value == 0


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("time.now_ns() > 1", "changing"),
        ("some x; input[x] == 1", "whole_input"),
        ('input.call.id != ""', "unlike_calls"),
    ],
)
def test_one_entry_point_that_is_not_remembered_leaves_the_other(condition: str, reason: str) -> None:
    admission = examined(request=f'package cordon.request\n\ndecision := {{"allow": true}} if {{ {condition} }}\n')
    assert admission.bundle is not None
    assert set(admission.uncached) == {REQUEST_RULE}
    meter = Meter("w")
    asked = EmbeddedEngine(admission.bundle, SETTINGS, admission.reads, admission.uncached, meter)
    for _ in range(2):
        outcome(asked, Moment.REQUEST, b'{"call": {"id": "a"}}')
        asked.decide_now(Moment.ANSWER_END, b"{}")
    assert meter.counter("cordon_policy_cache_passed_total", "request", reason).value == 2
    assert _count(meter, "hits", "answer_end") == 1


@pytest.mark.parametrize("off", ["setting", "unknown"])
def test_nothing_is_remembered_where_it_is_switched_off_or_admission_said_nothing(off: str) -> None:
    meter = Meter("w")
    most = 0 if off == "setting" else MEGABYTE
    asked = engine(admitted("a", "pass"), remembers=off == "setting", meter=meter, most=most)
    for _ in range(2):
        asked.decide_now(Moment.REQUEST, b'{"value": 1}')
    assert meter.counter("cordon_policy_cache_passed_total", "request", "off").value == 2
    assert _count(meter, "hits") == 0


@pytest.mark.parametrize("size", [10, 2_000])
@pytest.mark.parametrize("shape", ["text", "reasons", "labels"])
def test_the_memory_is_what_is_counted_at_most(size: int, shape: str) -> None:
    """Decisions of different shapes, measured: the setting is a bound on real memory."""
    text = {
        "text": f'{{"allow": false, "reasons": [{{"rule": "a", "detail": substring(input.value, 0, {size})}}]}}',
        "reasons": '{"allow": false, "reasons": [{"rule": "r", "detail": input.n} | some i in numbers.range(1, 32)]}',
        "labels": '{"allow": true, "labels": {sprintf("l%d", [i]): input.n | some i in numbers.range(1, 16)}}',
    }[shape]
    admission = examined(request=f"package cordon.request\n\ndecision := {text}\n")
    assert admission.bundle is not None
    asked = EmbeddedEngine(admission.bundle, Policy(cache_bytes=2 * MEGABYTE), admission.reads, admission.uncached)
    store = asked._remembered[Moment.REQUEST].cache
    assert store is not None
    asked.decide_now(Moment.REQUEST, b'{"value": "", "n": ""}')
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(100):
            asked.decide_now(Moment.REQUEST, b'{"n": "%d", "value": "%s"}' % (number, b"x" * size))
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0 < used <= store.held <= MEGABYTE


def test_a_schema_of_many_small_objects_is_counted_as_what_it_takes() -> None:
    output = '{"schema": {"$comment": input.n, "properties": p}}'
    response = f'package cordon.response\n\ndecision := {{"allow": true, "output": {output}}}\n\n'
    response += 'p := {k: {} | some i in numbers.range(1, 60); k := sprintf("%d", [i])}\n'
    admission = examined(response=response)
    assert admission.bundle is not None
    asked = EmbeddedEngine(admission.bundle, SETTINGS, admission.reads, admission.uncached)
    store = asked._remembered[Moment.ANSWER_HEAD].cache
    assert store is not None
    assert asked.decide_now(Moment.ANSWER_HEAD, b'{"n": ""}').allow
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(50):
            asked.decide_now(Moment.ANSWER_HEAD, b'{"n": "%d"}' % number)
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0 < used <= store.held


def test_the_settings_of_the_other_engine_are_refused() -> None:
    with pytest.raises(ValueError, match="cache_bytes belongs to engine: embedded"):
        Policy(engine="opa", url="http://127.0.0.1:8181", cache_bytes=1)


def test_answers_that_pass_undecided_are_not_looked_for() -> None:
    admission = admitted("a", "pass")
    assert admission.bundle is not None
    meter = Meter("w")
    asked = EmbeddedEngine(admission.bundle, Policy(unsafe_pass_answers=True), admission.reads, {}, meter)
    assert asked.decide_now(Moment.FINDING, b"{}").allow
    assert meter.counter("cordon_policy_cache_passed_total", "finding", "off").value == 1
    assert RESPONSE_RULE in admission.reads


def _count(meter: Meter, name: str, moment: str = "request") -> float:
    return meter.counter(f"cordon_policy_cache_{name}_total", moment).value
