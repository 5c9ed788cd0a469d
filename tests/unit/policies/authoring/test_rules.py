"""Rules that nothing reaches, that cannot matter, that have no test: what is reported, and what must not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.admission import admit_now
from policies.authoring.examining import CODES, examine
from policies.bundle import load_bundle
from policies.settings import Policy
from tests.support.gateway import ROOT
from tests.support.policies import MINIMAL, SETTINGS, bundle

HEAD = "package cordon.request\n\n"
TESTED = """package a_test

test_request if data.cordon.request.decision.allow

test_response if data.cordon.response.decision.allow
"""


def found(request: str, *codes: str, tests: str = TESTED) -> list[tuple[str, str, int]]:
    read = bundle(MINIMAL | {"request.rego": HEAD + request, "a_test.rego": tests})
    admission = admit_now(read, SETTINGS)
    assert admission.errors == ()
    problems = examine(read, admission, SETTINGS)
    return [(each.code, each.file, each.line) for each in problems if not codes or each.code in codes]


@pytest.mark.parametrize(
    "folder", [ROOT / "policies/bundles/starter", ROOT / "examples/policy"], ids=lambda at: at.name
)
def test_what_comes_with_cordon_is_in_order(folder: Path) -> None:
    read = load_bundle(folder)
    settings = Policy(bundle=folder)
    assert examine(read, admit_now(read, settings), settings) == []


def test_a_rule_that_nothing_reaches_is_told_once() -> None:
    text = 'decision := {"allow": used}\n\nused := true\n\nspare := 1 if used\n\nspare := 1 if not used\n'
    text += "\nf(x) := spare if x\n"
    assert found(text) == [("unreachable", "request.rego", 7), ("unreachable", "request.rego", 11)]


def test_helpers_of_tests_must_be_reached_too() -> None:
    tests = TESTED + "\ntodo_test_later if later\n\nlater if true\n\nspare := 1\n"
    assert found('decision := {"allow": true}\n', tests=tests) == [("unreachable", "a_test.rego", 11)]


@pytest.mark.parametrize(
    "text",
    [
        'decision := {"allow": true} if data.cordon.request[input.call.id]\n\nany := 1\n',
        'decision := {"allow": true} if yes with input as {}\n\nyes if input\n',
        'decision := {"allow": true} if f(1)\n\nf(x) if g(x) == 1\n\ng(x) := 1 if x\n',
        'decision := {"allow": some_set["a"]}\n\nsome_set contains "a"\n',
    ],
)
def test_what_is_reached_in_another_way_is_reached(text: str) -> None:
    read = bundle(MINIMAL | {"request.rego": HEAD + text, "a_test.rego": TESTED})
    assert not {"unreachable", "untested"} & {each.code for each in examine(read, admit_now(read, SETTINGS), SETTINGS)}


def test_what_opa_itself_asks_for_needs_no_caller() -> None:
    files = MINIMAL | {"mask.rego": 'package system.log\n\nmask contains "/input/parsed_body"\n', "a_test.rego": TESTED}
    read = bundle(files)
    problems = examine(read, admit_now(read, SETTINGS), SETTINGS)
    assert [(each.code, each.severity) for each in problems] == [("untested", "note")]


def test_a_rule_that_no_test_reaches_is_a_note() -> None:
    tests = "package a_test\n\ntest_response if data.cordon.response.decision.allow\n"
    text = 'decision := {"allow": helper}\n\nhelper := true\n'
    assert found(text, tests=tests) == [("untested", "request.rego", 3), ("untested", "request.rego", 5)]


def test_a_bundle_without_tests_is_told_so_once() -> None:
    read = bundle(MINIMAL)
    problems = examine(read, admit_now(read, SETTINGS), SETTINGS)
    assert [(each.code, each.severity) for each in problems] == [("no_tests", "note")]


SHADOWED = {
    "else after no condition": ("x := 1 if { true } else := 2 if input.model.stream", 3),
    "else after true": ("x := 1 if true\n\nelse := 2 if input.model.stream", 5),
    "a second else": ("x := 1 if input.model.stream\n\nelse := 2 if true\n\nelse := 3", 7),
    "else of a function": ('f(a) := "x" if true else := "y" if a\n\nx := f(1)', 3),
    "the same once more": ("x if input.model.stream\n\nx if   input.model.stream # again", 5),
    "the same function": ("f(a) if a == 1\n\nf(a) if a == 1\n\nx := f(1)", 5),
    "a member once more": ('x contains "a" if input.model.stream\n\nx contains "a" if input.model.stream', 5),
    "a value that it has anyway": ("x := 1\n\nx := 1 if input.model.stream", 5),
    "true that it is anyway": ("x if true\n\nx if input.model.stream", 5),
    "before what it is anyway": ("x if input.model.stream\n\nx if true", 3),
    "a default that never counts": ("default x := 0\n\nx := 1", 3),
}


@pytest.mark.parametrize("case", SHADOWED)
def test_what_can_never_matter_is_told(case: str) -> None:
    text, line = SHADOWED[case]
    text += '\n\ndecision := {"allow": true} if x\n'
    assert found(text, "shadowed") == [("shadowed", "request.rego", line)]


@pytest.mark.parametrize(
    "text",
    [
        "x := input.model.requested if true else := 2",  # the first may be undefined
        "x := 1 if input.model.stream else := 2",
        'f("a") := 1\n\nf("b") := 1\n\nx := f("a")',
        "x := 1 if input.model.stream\n\nx := 1 if not input.model.stream",
        "default x := 0\n\nx := 1 if input.model.stream",
        "default x := 0\n\nx := input.call.attempt",
        'x contains "a"\n\nx contains "b"',
        'x := "a # b" if input.model.stream\n\nx := "a # c" if input.model.requested',
        'y["a"] := 1\n\ny["b"] := 1\n\nx if y.a == y.b',
        "f(a) := 1 if a == 1 else := 2\n\nx := f(1)",
    ],
)
def test_what_may_matter_is_let_be(text: str) -> None:
    assert found(text + '\n\ndecision := {"allow": true} if x\n', "shadowed") == []


def test_each_code_is_in_the_guide() -> None:
    guide = (ROOT / "docs/guides/policy-author.md").read_text()
    for code in CODES:
        assert f"`{code}`" in guide
