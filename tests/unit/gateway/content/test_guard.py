"""Blocked patterns: what is looked for together is found one by one, whatever the patterns cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.errors import ContentError
from gateway.content.guard import Guard
from gateway.content.scanner import WALL
from gateway.content.walk import Texts

PATTERNS = (("number", r"secret [0-9]{1,3}\b"), ("word", r"(?i)top.{0,5}secret"), ("edge", r"\bk\b"))
TEXTS = st.lists(st.text(st.sampled_from("secret topk0 9\n-")), max_size=6)


@given(TEXTS)
def test_what_any_single_search_finds_the_joint_look_sees(texts: list[str]) -> None:
    guard = Guard(PATTERNS)
    found = [match for text in texts for match in guard.search(text, 0, final=True)]
    assert guard.occurs(WALL.join(texts)) or not found


@given(TEXTS)
def test_a_value_is_blocked_if_and_only_if_one_of_its_texts_is(texts: list[str]) -> None:
    guard = Guard(PATTERNS)
    names = {match.type for text in texts for match in guard.search(text, 0, final=True)}
    assert {finding.match.type for finding in Texts(list(texts)).blocked(guard)} == names


@pytest.mark.parametrize("source", ["^a", "a$", r"\Aa", r"a\z", r"a\Bb", "a+", "(a|b)*"])
def test_a_pattern_that_needs_the_whole_text_is_not_looked_for_in_a_part_of_it(source: str) -> None:
    guard = Guard((("p", source),))
    assert not guard.streamable
    assert guard.occurs("anything")


def test_patterns_too_large_for_one_automaton_are_still_found() -> None:
    heavy = tuple((f"p{number}", rf"\pL{{200}}[a-z]{{{number + 1}}}x{{100}}") for number in range(40))
    guard = Guard((*heavy, ("plain", "needle")))
    assert guard.occurs("a needle in a haystack")
    assert [match.type for match in guard.search("a needle", 0, final=True)] == ["blocked_pattern:plain"]


@pytest.mark.parametrize("source", ["(", r"(?<=a)b", "a" * 2_000, r"(a)\1"])
def test_a_pattern_that_cannot_be_enforced_is_refused(source: str) -> None:
    with pytest.raises(ContentError) as error:
        Guard((("p", source),))
    assert error.value.code == "not_enforced"
