"""Trees made of rules with a variable in the middle of their heads, and functions with dotted names."""

from __future__ import annotations

import pytest

from policies.rego.entries import tree
from tests.unit.policies.rego.test_rewriting import value


def test_entries_and_what_is_there_without_any() -> None:
    rules = (
        'p[q].r := i if some i, q in input.l\np.e.f := 4\np.s contains "a"\np[q].t contains q if some q in input.l\n'
    )
    document = {"l": ["a", "b"]}
    assert value(rules + "x := p", document) == {
        "a": {"r": 0, "t": ["a"]},
        "b": {"r": 1, "t": ["b"]},
        "e": {"f": 4},
        "s": ["a"],
    }
    assert value(rules + "x := p", {}) == {"e": {"f": 4}, "s": ["a"]}
    assert value(rules + "x := [k | p[k].r > 0]", document) == ["b"]


def test_rules_that_do_not_agree_are_an_error() -> None:
    assert value('p[q].r := i if some i, q in ["a", "a"]\nx := p') == "error"
    assert value('p[q].r := {"s": 1} if some q in ["a"]\np.a.r.t := 2\nx := p') == "error"
    with pytest.raises(ValueError, match="do not agree"):
        tree([[["a"], 2, False], [["a"], "x", True]], [])
    with pytest.raises(ValueError, match="through the value"):
        tree([[["a"], 2, False], [["a", "b"], 2, False]], [])
    assert tree([[["a"], 2, False], [["a"], 2, False]], [["b", True]]) == {"a": 2, "b": set()}


def test_a_function_with_a_dotted_name_has_its_default() -> None:
    rules = "default a.f(_) := 42\na.f(y) := y if y < 10\ng(_) := 7\nz := a.f(3)\n"
    assert value(rules + "x := [a.f(1), a.f(11), data.p.a.f(2)]") == [1, 42, 2]
    assert value(rules + "x := v if v := z with a.f as g") == 7
