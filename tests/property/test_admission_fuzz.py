"""Admission comes to a verdict on any text, without raising and within its time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.admission import admit_now
from policies.bundle import make_bundle
from policies.rego.lexer import check_brackets
from policies.settings import Policy

WORDS = [
    "x",
    "if",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ":=",
    "==",
    "not",
    "every",
    "some",
    "in",
    "else",
    "with",
    "as",
    "data.p.x",
]
WORDS += [
    "input.a",
    '"q"',
    "`r`",
    "1",
    "1e999",
    "_",
    "|",
    ";",
    "\n",
    "#",
    "default",
    "contains",
    "import",
    "é",
    "😀",
    "\x00",
    "\\",
]
NEAR_REGO = st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join)
SETTINGS = Policy(admission_seconds=5)


@given(st.one_of(st.text(max_size=300), NEAR_REGO))
@settings(max_examples=300, deadline=None)
def test_the_look_at_brackets_takes_any_text(text: str) -> None:
    for problem in check_brackets("p.rego", text):
        assert problem.line >= 1


@given(NEAR_REGO)
@settings(max_examples=12, deadline=None)
def test_any_module_is_admitted_or_refused_with_a_reason(text: str) -> None:
    files = {"p.rego": f"package p\n{text}\n".encode()}
    verdict = admit_now(make_bundle(files), SETTINGS)
    assert (verdict.bundle is None) == bool(verdict.errors)
