"""References to data: what the bundle has nowhere is found, and what may be there is let be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from policies.authoring.data_names import unknown_data
from policies.errors import Problem
from policies.rego.names import Names
from policies.rego.tree import parse

DATA: dict[str, Any] = {"tenants": {"acme": {"regions": ["EU"]}}, "limits": {"most": 5}, "cordon": {"extra": 1}}
RULES = "package lib\n\ndenied contains 1\n\nmap[x] := 1 if some x in [1]\n\na.b := {}\n\nf(x) := x"


def found(text: str, *tests: str, live: bool = True) -> list[Problem]:
    texts = [f"package main\n\nimport data.lib\nimport data.limits as most\n\n{text}", RULES, *tests]
    names = Names([parse(f"{at}.rego", each) for at, each in enumerate(texts)])
    return list(unknown_data(names, DATA, {("data", "main", "a")} if live else set()))


@pytest.mark.parametrize(
    ("text", "missing", "meant"),
    [
        ("a if not data.lib.denyed", "data.lib.denyed", "did you mean data.lib.denied?"),
        ("a if not lib.denyed[1]", "data.lib.denyed", "did you mean data.lib.denied?"),
        ("a if count(most.mots) > 1", "data.limits.mots", "did you mean data.limits.most?"),
        ("a if data.tenantz[input.tenant.id]", "data.tenantz", "did you mean data.tenants?"),
        ('a if data["tenants"].globex.regions', "data.tenants.globex", "known there: acme"),
        ("a if some x in data.lib.x.y.z", "data.lib.x", "known there: a, denied, f, map"),
        ("a if data.cordon.ekstra", "data.cordon.ekstra", "did you mean data.cordon.extra?"),
        ("a := [x | some x in lib.denyed]", "data.lib.denyed", "did you mean data.lib.denied?"),
    ],
)
def test_what_is_nowhere_is_told_with_what_was_meant(text: str, missing: str, meant: str) -> None:
    (problem,) = found(text)
    assert problem.message == f"there is no {missing} in the bundle, neither a rule nor data"
    assert (problem.remedy, problem.severity, problem.code) == (meant, "error", "unknown_data")


@pytest.mark.parametrize(
    "text",
    [
        "a if lib.denied[1]",
        "a if data.lib[input.x]",
        "a if lib.map.anything.below",
        "a if lib.a.b.c.d",
        "a if data.tenants[input.tenant.id].regions[0].x",
        'a if data.tenants.acme.regions[_] == "EU"',
        "a if most.most == 5",
        "a if most.most.below",
        "a if lib.f(1) == 1",
        "a if data.cordon.extra == 1",
        "a := [x | some x in data.main.b]\n\nb := [1]",
        "a if data.lib == {}",
    ],
)
def test_what_may_be_there_is_let_be(text: str) -> None:
    assert found(text) == []


def test_what_decides_nothing_is_warned_of() -> None:
    assert [problem.severity for problem in found("a if not data.lib.denyed", live=False)] == ["warning"]


def test_what_a_test_puts_there_may_come_from_elsewhere() -> None:
    test = f"package main_test\n\nimport data.main\n\ntest_a if main.a with data.outside as {json.dumps({'b': 1})}"
    assert found("a if data.outside.b", test) == []
    assert len(found("a if data.elsewhere.b", test)) == 1
