"""Rewritten modules keep their lines, and put a guard wherever the engine would differ."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.bundle import make_bundle
from policies.embedded import build
from policies.rego.edits import Edit, apply, outermost
from policies.rego.rewriting import rewrite
from policies.rego.tree import parse, statements


def rewritten(text: str, data: dict[str, object] | None = None) -> str:
    texts, problems = rewrite([parse("p.rego", "package p\n\n" + text)], data or {})
    assert problems == []
    return texts["p.rego"].split("\n", 2)[2]


def value(text: str, document: Any = None) -> Any:
    """What the rewritten rule x is; "error" where it fails."""
    texts, problems = rewrite([parse("p.rego", "package p\n\n" + text)], {})
    assert problems == []
    engine = build(make_bundle({file: each.encode() for file, each in texts.items()}))
    engine.set_input_json(json.dumps(document if document is not None else {}))
    try:
        return json.loads(engine.eval_rule_as_json("data.p.x"))
    except RuntimeError:
        return "error"


def test_an_operand_that_may_be_undefined_is_asked_for_before_the_negation() -> None:
    assert value("x if not startswith(input.a, input.b)", {"a": "q"}) == "<undefined>"
    assert value("x if not input.a in input.b", {"a": "q"}) == "<undefined>"
    assert value("x if not input.a == input.b", {"a": "q"}) is True
    assert value("x if not input.b", {"a": "q"}) is True


def test_a_negation_within_a_moved_part_is_moved_too() -> None:
    text = "x if not count({y | some y in input.l; not y in input.no}) > input.z"
    assert value(text, {"l": [1], "z": 0, "no": [1]}) is True
    assert value(text, {"l": [1], "z": 0, "no": []}) == "<undefined>"
    assert value(text, {"l": [1], "z": 0}) is True


def test_numbers_are_whole_or_an_error() -> None:
    assert value("x := input.a + input.b", {"a": 1, "b": 2}) == 3
    assert value("x := input.a + input.b", {"a": 0.1, "b": 0.2}) == "error"
    assert value("x := input.a / 2", {"a": 7}) == "error"
    assert value("x := floor(input.a / 2)", {"a": 7}) == 3
    assert value("x := sum(input.l)", {"l": [0.5, 0.5]}) == "error"
    assert value("x := input.a * input.a", {"a": 2**40}) == "error"
    assert value("x := {1, 2} - {2}") == [1]


@pytest.mark.parametrize(("text", "count"), [("é", 1), ("😀", 1), ("a\u0301", 2), ("", 0)])
def test_texts_are_counted_by_code_point(text: str, count: int) -> None:
    assert value("x := count(input.a)", {"a": text}) == count


def test_collections_are_counted_as_before() -> None:
    assert value("x := count(input.a)", {"a": [1, 2]}) == 2
    assert rewritten("x := count([1, 2])") == "x := count([1, 2])"


def test_imports_are_written_out() -> None:
    first = parse("a.rego", "package a\n\nr contains 1 if not f(input.c)\n\nf(c) if c == 2\n")
    second = parse("b.rego", "package b\n\nimport data.a as other\n\nx := other.r\n")
    texts, _ = rewrite([first, second], {})
    assert texts["b.rego"].splitlines()[4] == "x := data.a.r"
    assert len(texts["b.rego"].splitlines()) == len(second.text.splitlines())


def test_a_result_as_last_argument_is_turned_round() -> None:
    assert value('x := y if { lower("A", y) }') == "a"


def test_spans_hold_whole_expressions() -> None:
    text = 'package p\n\nx if { {"k": 1, "b": 2} != "a"; ("q") > input["z"]; "a" in ["x"] }\n'
    module = parse("p.rego", text)
    wanted = ['{"k": 1, "b": 2} != "a"', '("q") > input["z"]', '"a" in ["x"]']
    assert [module.source(each) for each in statements(module.tree["rules"])] == wanted


def test_edits_nest_and_replacements_win() -> None:
    assert apply("é(ab)", [Edit(3, 5, "<", ">"), Edit(0, 2, "f")]) == "f(<ab>)"
    assert outermost([Edit(2, 3, "in"), Edit(0, 5, "out")]) == [Edit(0, 5, "out")]
