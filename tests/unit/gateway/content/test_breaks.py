"""Text is released at breaks: looking at the parts finds what looking at the whole finds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.content.breaks import WINDOW, last_break
from gateway.content.patterns import PatternScanner
from gateway.content.scanner import readable
from tests.support.content import planted

SCANNER = PatternScanner()


PEM = "-----BEGIN X KEY-----\nabc\n"


@pytest.mark.parametrize(
    ("text", "released"),
    [
        ("Hello wor", "Hello "),
        ("john", ""),
        ("see john@x", "see "),
        ("it is 4111 1111", "it is "),
        ("pay 4111 1111 1111 1111 now ", "pay 4111 1111 1111 1111 now "),
        ("GB82 WEST 12", ""),
        ("so my token ", "so my "),
        ("so my token is", "so my "),
        ("password = ", ""),
        ("password = x", ""),
        ("a line\n4111", "a line\n"),
        ("1, 2; 3", "1, 2;"),
        ('{"name":"x1",', '{"name"'),
        ('{"token":"', "{"),
        ("日本語", "日本語"),
        ("４１１１", ""),
        (PEM, ""),
        (PEM + "-----END X KEY-----\nso it ", PEM + "-----END X KEY-----\nso it "),
        ("-----BEGIN is a word. Then ", "-----BEGIN is a word. Then "),
        ("{<apiKey>\n", "{"),
    ],
)
def test_what_is_released_at_once(text: str, released: str) -> None:
    assert text[: last_break(text, 0)] == released


def test_a_break_is_never_before_the_start_nor_beyond_the_window() -> None:
    text = "word " * 10_000
    assert last_break(text, 100) <= 100 + WINDOW
    assert last_break(text, 100) > 100
    assert last_break("x" * 100, 40) == 40


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_parts_between_breaks_hold_all_the_findings_of_the_whole(seed: int) -> None:
    rng = random.Random(seed)
    text = readable(planted(rng, 4))
    parts = []
    start = 0
    for end in range(1, len(text) + 1):
        place = last_break(text[:end], start, end - 1)
        if place > start:
            parts += SCANNER.scan(text[:place], start)
            start = place
    parts += SCANNER.scan(text, start)
    assert parts == SCANNER.scan(text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="aA1 4-.:=@,;\"'\n>()+_/\\u0token key GB82日é\u200b"), st.data())
def test_a_place_once_settled_stays_settled(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    place = last_break(text[:cut], 0)
    assert last_break(text, 0) >= place
    before = SCANNER.scan(text[:place])
    whole = SCANNER.scan(text)
    assert [match for match in whole if match.start < place] == before
