"""What rules read: found in the syntax tree, never less than what evaluation can reach."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import PolicyError
from policies.reads import narrow, tree
from policies.rego.inputs import MOST, Reading, reading
from policies.rego.names import Names
from policies.rego.tree import parse
from tests.support.policies import SETTINGS, bundle

RULE = "data.cordon.request.decision"
HEAD = "package cordon.request\n\nimport input.attributes.request.http as http\nimport input.parsed_body as body\n\n"


def of(condition: str, more: str = "") -> Reading:
    text = f'{HEAD}decision := {{"allow": true}} if {{\n\t{condition}\n}}\n{more}'
    return reading(Names([parse("a.rego", text)]), RULE)


@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        ("input.tenant.id == 1", ["tenant.id"]),
        ("input.tenant.id == input.tenant", ["tenant"]),
        ('http.method == "GET"', ["attributes.request.http.method"]),
        ('http.headers["x-a"] == "b"', ["attributes.request.http.headers.x-a"]),
        (r'input["ten\u0061nt"].id == 1', ["tenant.id"]),
        ("input[`tenant`].id == 1", ["tenant.id"]),
        ('body["a.b"] == 1', ["parsed_body"]),
        ('body[""] == 1', ["parsed_body"]),
        ("body[0].x == 1", ["parsed_body"]),
        ("body.messages[_].content == 1", ["parsed_body.messages"]),
        ("some k; body.tools[k].name == 1", ["parsed_body.tools"]),
        ('x := input.model; x.requested == "a"', ["model"]),
        ('object.get(input.model, "requested", 1) == 1', ["model"]),
        ("helper", ["call.method"]),
        ("twice(input.model.stream)", ["answer", "model.stream"]),
        ("body[input.model.requested] == 1", ["model.requested", "parsed_body"]),
        ('helper with input.tenant.id as "x"', ["call.method", "tenant.id"]),
        ("body.a.b.c.d.e.f.g.h.i == 1", ["parsed_body.a.b.c.d.e.f.g"]),
        ("1 == 1", []),
    ],
)
def test_paths_are_told_apart_as_far_as_they_are_known(condition: str, keys: list[str]) -> None:
    helpers = 'helper if input.call.method == "x"\n\ntwice(x) if x == input.answer\n'
    found = of(condition, helpers)
    assert found.keys == keys
    assert found.uncached is None


@pytest.mark.parametrize(
    "condition", ["input[x] == 1; x := 1", "walk(input, [p, v])", 'input["a.b"] == 1', "x := input; x.a == 1"]
)
def test_what_may_be_anything_is_named_by_its_place(condition: str) -> None:
    found = of(condition)
    assert found.keys is None
    assert found.uncached is not None
    assert (found.uncached.code, found.uncached.file, found.uncached.line) == ("whole_input", "a.rego", 7)


@pytest.mark.parametrize("call", ["time.now_ns() > 1", 'rand.intn("a", 2) == 1', 'uuid.rfc4122("a") != ""', "helper"])
def test_what_changes_is_named_by_its_place(call: str) -> None:
    found = of(call, "helper if {\n\ttime.now_ns() > 1\n}\n")
    assert found.uncached is not None
    assert (found.uncached.code, found.uncached.line) == ("changing", 10 if call == "helper" else 7)
    assert found.uncached.column == 2


@pytest.mark.parametrize(
    "condition", ['input.call.id == "a"', "input.call == 1", 'http.id == "a"', "x := http; x.method == 1"]
)
def test_what_no_two_calls_have_alike_is_named_by_its_place(condition: str) -> None:
    found = of(condition)
    assert found.keys
    assert found.uncached is not None
    assert (found.uncached.code, found.uncached.line) == ("unlike_calls", 7)


def test_a_function_of_the_bundle_is_no_builtin_of_its_name() -> None:
    assert of("time.now_ns() == 1", "time.now_ns() := 1\n").uncached is None


def test_rules_that_are_not_reached_do_not_count() -> None:
    assert of("1 == 1", "other := time.now_ns()\n\nmore := input\n") == Reading([])


def test_too_many_paths_become_fewer_and_at_last_the_whole() -> None:
    deep = " ".join(f"body.k{number} == 1;" for number in range(MOST + 1))
    assert of(deep + " 1 == 1").keys == ["parsed_body"]
    wide = " ".join(f"input.k{number} == 1;" for number in range(MOST + 1))
    found = of(wide + " 1 == 1")
    assert found.keys is None
    assert found.uncached is not None
    assert found.uncached.code == "whole_input"


CONDITIONS = (
    "input.a.b == 1",
    'input.a["b"].c == 1',
    "input.a[_].c == 1",
    'object.get(input.a, ["b", "c"], 0) == 1',
    "count(input.b) > 1",
    "not input.a.c",
    "some k; input.a[k] == 1",
    "is_object(input.a.b)",
    "[k | input.c[k]] == []",
    "every x in input.b { x == 1 }",
    "input.a.b == input.c.b",
    'helper with input.a as {"c": 1}',
)
STEPS = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    st.integers(0, 1) | st.none() | st.just("x"),
    lambda below: st.dictionaries(STEPS, below, max_size=3) | st.lists(below, max_size=2),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3),
    st.lists(st.dictionaries(STEPS, VALUES), min_size=1, max_size=6),
)
def test_a_narrowed_document_decides_as_the_whole_one(
    conditions: list[str], documents: list[dict[str, object]]
) -> None:
    rules = [f'decision := {{"allow": true}} if {{ {condition} }}\n' for condition in dict.fromkeys(conditions)]
    text = "package cordon.request\n\nhelper if input.a.c == 1\n\n" + "\n".join(rules)
    made = bundle(request=text)
    found = reading(Names([parse("a.rego", text)]), RULE)
    assert found.keys is not None
    wanted = tree(frozenset(found.keys))
    engine = EmbeddedEngine(made, SETTINGS)
    for document in documents:
        whole, less = (json.dumps(each).encode() for each in (document, narrow(document, wanted)))
        assert outcome(engine, whole) == outcome(engine, less)


def outcome(engine: EmbeddedEngine, document: bytes) -> object:
    try:
        return engine.decide_now(Moment.REQUEST, document)
    except PolicyError as error:
        return str(error)
