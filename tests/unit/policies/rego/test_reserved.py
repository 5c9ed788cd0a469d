"""What rewriting adds to a bundle cannot be read, replaced or added to by the bundle."""

from __future__ import annotations

import pytest

from policies.rego.inspection import inspect
from policies.rego.names import Names
from policies.rego.tree import parse

TREE = "package q\n\np[y].k := 1 if some y in input.l"


def codes(*texts: str, data: dict[str, object] | None = None) -> set[str]:
    modules = [parse(f"{place}.rego", text) for place, text in enumerate(texts)]
    return {problem.code for problem in inspect(Names(modules), data or {}) if problem.severity == "error"}


@pytest.mark.parametrize(
    "text",
    [
        "x if count(input.l) == 0 with data.cordon_exact.size as 0",
        "x if count(input.l) == 0 with data.cordon_exact.size as g\n\ng(_) := 0",
        'x if count(input.l) == 0 with data["cordon\\u005fexact"].size as 0',
        "x if not data.cordon_exact",
        "x if input.l with input.l as data.cordon_exact",
        "x := [1 | data.cordon_exact[_]]",
        "x[data.cordon_exact.y].z := 1",
        "import data.cordon_exact as c\n\nx if count(input.l) == 0 with c.size as 0",
        "x if data.q.cordon_entries_p",
        'x if data.q["cordon_entries\\u005fp"]',
        "x := y if y := data.q.p with data.q.cordon_entries_p as set()",
    ],
)
def test_reading_and_replacing(text: str) -> None:
    assert "reserved" in codes("package p\n\n" + text, TREE)


def test_declaring() -> None:
    assert "reserved" in codes("package cordon_exact.more\n\nx := 1")
    assert "reserved" in codes(TREE, 'package q\n\ncordon_entries_p contains [["a"], true, false]')
    assert "reserved" in codes(TREE, "package q.cordon_entries_p\n\nx := 1")


def test_data_that_would_stand_in_the_place_of_it() -> None:
    assert "reserved" in codes(TREE, data={"q": {"cordon_entries_p": [[["evil", "k"], True, False]]}})
    assert "reserved" in codes("package p\n\nx := 1", data={"cordon_exact": {"size": 0}})
    assert codes(TREE, data={"q": {"cordon_entries_r": []}}) == set()


def test_names_that_only_look_like_them() -> None:
    assert codes("package p\n\nx := input.cordon_exact.size\n\ncordon_exact := 1\n\ny := cordon_exact") == set()
    assert codes("package p\n\nx := data.p.cordon_entries_q\n\ncordon_entries_q := 1") == set()
