"""`with` on functions: replaced only by what means the same here as in OPA; members and extents beside it."""

from __future__ import annotations

import pytest

from policies.rego.mocks import check_mocks, mocked_builtins
from policies.rego.names import Names
from policies.rego.tree import parse
from tests.unit.policies.rego.test_rewriting import value


def problems(text: str) -> list[str]:
    names = Names([parse("p.rego", "package p\n\n" + text)])
    return [problem.code for problem in check_mocks(names, names.modules[0], {"own": 1})]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ('f(_, _) := 1\nx if concat(",", []) with concat as f', []),
        ('x if upper("a") with upper as "b"', ["with"]),
        ('x if concat(",", []) with concat as "b"', []),
        ('f(y) := concat(y, [])\nx if concat(",", []) with concat as f', ["with"]),
        ('f(_, _, _) := 1\nx if concat(",", []) with concat as f', ["with"]),
        ("x if 1 with data.own as 2", ["with_data"]),
        ("x if 1 with input.a as 2", []),
        ("x if is_set(1) with is_set as true", ["with"]),
    ],
)
def test_what_may_be_replaced(text: str, codes: list[str]) -> None:
    assert problems(text) == codes


def test_replaced_builtins_are_known_by_name() -> None:
    names = Names([parse("p.rego", 'package p\n\nx if 1 with concat as "b" with input as 1 with data.q as 2')])
    assert mocked_builtins(names) == {"concat"}


def test_a_replacement_holds_for_what_is_called_on_the_way() -> None:
    text = 'f(_) := 1\ng(_) := 2\nh := [f(0), concat("", [])]\nx := v if v := h with f as g with concat as "c"'
    assert value(text) == [2, "c"]


def test_members_by_key_and_value() -> None:
    assert value('x if "a", 2 in {"a": 2}') is True
    assert value('x if 0, "a" in ["a"]') is True
    assert value('x if "a", "a" in {"a"}') is True
    assert value('x if "a", 3 in {"a": 2}') == "<undefined>"
    assert value('x if not "0", "a" in ["a"]') is True


def test_what_lies_below_a_path_is_an_object_of_what_is_defined() -> None:
    text = "a.b.c := 1\na.b.d := 2 if input.no\na.e.c := 3\na.f(_) := 4\n"
    assert value(text + "x := a") == {"b": {"c": 1}, "e": {"c": 3}}
    assert value(text + "x := [[k, v] | v := a[k].c]") == [["b", 1], ["e", 3]]
    assert value(text + "x := a[input.k].c", {"k": "e"}) == 3
    assert value(text + "x := a[input.k].c", {"k": "z"}) == "<undefined>"
