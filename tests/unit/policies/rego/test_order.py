"""The order of sets and objects among each other is another in OPA: where it shows, it is an error."""

from __future__ import annotations

import pytest

from tests.unit.policies.rego.test_rewriting import value

MIXED = '{{"a": 2}, {"b"}}'


@pytest.mark.parametrize(
    "text",
    [
        f"max({MIXED})",
        f"min({MIXED})",
        f"sort({MIXED})",
        f"[y | some y in {MIXED}]",
        f"[y | y := {MIXED}[_]]",
        f"[type_name(y) | walk({MIXED}, [_, y])]",
        '[k | some k, _ in {{"a"}: 2, {"a": 2}: 3}]',
        'sort([["x", {"a"}], ["x", {"a": 2}]])',
        'sort([{"k": {{"a"}}}, {"k": {{"a": 2}}}])',
    ],
)
def test_sets_beside_objects_are_an_error(text: str) -> None:
    assert value(f"x := {text}") == "error"


def test_the_same_through_rules_and_functions() -> None:
    rules = f"s := {MIXED}\nf(y) := y\n"
    assert value(rules + "x := [y | some y in s]") == "error"
    assert value(rules + "x := [y | f(s)[y]]") == "error"
    assert value(rules + "x := [y | z := s; z[y]]") == "error"
    assert value(rules + "x := max(f(s))") == "error"


def test_sets_below_objects_and_sets_alone_have_their_order() -> None:
    assert value('x := [y.i | some y in {{"i": 2, "t": {"a"}}, {"i": 3, "t": {"b", "c"}}}]') == [2, 3]
    assert value('x := sort([{"b"}, {"a"}, {"a", "b"}])') == [["a"], ["a", "b"], ["b"]]
    assert value("x := [max([2, 3]), min({4, 5})]") == [3, 4]
    assert value("x := [k | input.o[k]]", {"o": {"b": 2, "a": 3}}) == ["a", "b"]
