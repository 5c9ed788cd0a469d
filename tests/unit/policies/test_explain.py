"""Explanations: which rules hold, which almost do, and changes that were tried."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from policies.bundle import Bundle, load_bundle, make_bundle
from policies.changes import Change
from policies.embedded import build
from policies.explain import Explanation, explain

STARTER = Path(__file__).parents[3] / "policies/bundles/starter"
RULE = "data.cordon.request.decision"
CALL: dict[str, Any] = {
    "phase": "request",
    "principal": {"id": "acme/ci-bot", "tenant": "acme", "roles": ["developer"], "key": "k1"},
    "tenant": {"id": "acme", "residency": ["EU"]},
    "route": {"id": "openai", "kind": "model", "dialect": "openai", "risk": "low"},
    "call": {"id": "c1", "attempt": 1, "method": "POST", "dialect": "openai", "operation": "chat"},
    "candidates": [
        {"id": "eu", "region": "eu-1", "jurisdiction": "EU", "provider": "openai", "model": "", "healthy": True}
    ],
    "content": {"media_type": "application/json", "bytes": 9, "findings": {}, "labels": {}},
    "model": {"requested": "gpt-5", "stream": False},
}
PAYMENTS = {"id": "payments", "kind": "http", "dialect": "", "risk": "high"}
SECRET = {"api_key": {"count": 1, "confidence": 95, "pointers": ["/a"]}}


@pytest.fixture(scope="module")
def starter() -> Bundle:
    return load_bundle(STARTER)


def call(**parts: object) -> dict[str, Any]:
    return copy.deepcopy(CALL) | copy.deepcopy(parts)


def changes(explanation: Explanation) -> list[str]:
    return [" and ".join(map(str, steps)) for steps in explanation.changes]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (call(route=PAYMENTS), 'add "payments" to input.principal.roles'),
        (call(content=CALL["content"] | {"findings": SECRET}), "remove input.content.findings.api_key"),
        (call(tenant={"id": "acme", "residency": ["CH"]}), 'add "EU" to input.tenant.residency'),
    ],
)
def test_the_smallest_change_is_found_first(starter: Bundle, document: dict[str, Any], expected: str) -> None:
    assert changes(explain(starter, RULE, document, allowed=False))[0] == expected


def test_every_change_that_is_told_allows_the_call(starter: Bundle) -> None:
    document = call(tenant={"id": "acme", "residency": ["CH"]}, route=PAYMENTS)
    found = explain(starter, RULE, document, allowed=False).changes
    assert found
    engine = build(starter)
    for steps in found:
        assert len(steps) == 2, "one change does not suffice"
        changed = document
        for step in steps:
            if step.document == "input":
                changed = step.apply(changed)
        if any(step.document == "data" for step in steps):
            continue
        engine.set_input_json(json.dumps(changed))
        assert json.loads(engine.eval_rule_as_json(RULE))["allow"] is True


def test_what_holds_has_its_place_and_value(starter: Bundle) -> None:
    found = {fired.rule: fired for fired in explain(starter, RULE, CALL, allowed=True).fired}
    decision = found[RULE]
    assert decision.file == "request.rego"
    assert starter.modules["request.rego"].splitlines()[decision.line - 1].startswith("decision :=")
    assert isinstance(decision.value, dict)
    assert decision.value["allow"] is True
    assert "data.cordon.request.refuse" not in found, "an empty set of reasons is nothing that holds"


def test_an_allowed_call_needs_no_change(starter: Bundle) -> None:
    assert explain(starter, RULE, CALL, allowed=True).changes == ()


SMALL = """package a

import rego.v1

decision := {"allow": true} if {
	input.bytes < 10
	input.kind == "x"
}

else := {"allow": false, "reasons": []}
"""


def test_the_one_condition_that_fails_is_named_with_what_it_sees() -> None:
    bundle = make_bundle({"a.rego": SMALL.encode()})
    (almost,) = explain(bundle, "data.a.decision", {"bytes": 12, "kind": "x"}, allowed=False).almost
    assert (almost.file, almost.line, almost.condition) == ("a.rego", 6, "input.bytes < 10")
    assert almost.seen == {"input.bytes": 12}
    found = changes(explain(bundle, "data.a.decision", {"bytes": 12, "kind": "x"}, allowed=False))
    assert found == ["set 9 at input.bytes"]


def test_what_fails_twice_almost_holds_not() -> None:
    bundle = make_bundle({"a.rego": SMALL.encode()})
    explained = explain(bundle, "data.a.decision", {"bytes": 12, "kind": "y"}, allowed=False)
    assert explained.almost == ()
    assert changes(explained) == ['set "x" at input.kind and set 9 at input.bytes'] or changes(explained) == [
        'set 9 at input.bytes and set "x" at input.kind'
    ]


def test_what_is_not_there_is_set() -> None:
    bundle = make_bundle({"a.rego": SMALL.encode()})
    found = changes(explain(bundle, "data.a.decision", {"bytes": 1}, allowed=False))
    assert found == ['set "x" at input.kind']


def test_the_data_may_be_what_lacks() -> None:
    module = 'package a\n\nimport rego.v1\n\ndecision := {"allow": true} if input.user in data.team.users\n'
    bundle = make_bundle({"a.rego": module.encode(), "data.json": b'{"team": {"users": ["ann"]}}'})
    found = explain(bundle, "data.a.decision", {"user": "bob"}, allowed=False).changes
    assert [str(step) for (step,) in found] == ['set "ann" at input.user', 'add "bob" to data.team.users']


@pytest.mark.parametrize(
    ("change", "before", "after", "text"),
    [
        (Change("input", ("a", "b"), "set", 1), {}, {"a": {"b": 1}}, "set 1 at input.a.b"),
        (Change("input", ("a",), "add", "x"), {"a": []}, {"a": ["x"]}, 'add "x" to input.a'),
        (Change("data", ("a", 0, "b"), "remove"), {"a": [{"b": 1}]}, {"a": [{}]}, "remove data.a[0].b"),
    ],
)
def test_a_change_is_made_on_a_copy(change: Change, before: object, after: object, text: str) -> None:
    kept = copy.deepcopy(before)
    assert change.apply(before) == after
    assert before == kept
    assert str(change) == text
