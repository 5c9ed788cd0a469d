"""Disguised text becomes plain, and every finding in it is traced back to the original's offsets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.normalise import DISGUISED, plain_bytes, undisguise


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("hello", "hello"),
        ("ｊｏｈｎ＠ｅｘａｍｐｌｅ．ｃｏｍ", "john@example.com"),
        ("４１１１", "4111"),
        ("٤١١١", "4111"),
        ("४१११", "4111"),
        ("𝟒𝟏𝟏𝟏", "4111"),
        ("①②", "12"),
        ("4111–1111—1111−1111‐1111", "4111-1111-1111-1111-1111"),
        ("4111\u00a01111\u20031111\u3000x", "4111 1111 1111 x"),
        ("4\u200b1\u200d1\ufeff1\u2060", "4111"),
        ("4\u0301\u20e3", "4"),
        ("4\U000e0041\ufe0f1", "41"),
        ("1\u00ad2\u202e3", "123"),
        ("Müller Ångström", "Muller Angstrom"),
        ("привет", "xxxxxx"),
        ("日本", "||"),
        ("🎉", "|"),
        ("a\u2028b", "a\nb"),
        ("\u115f4\u3164", "4"),
    ],
)
def test_characters_beyond_ascii_become_plain(text: str, plain: str) -> None:
    assert plain_bytes(text).decode() == plain
    assert undisguise(text).text == plain


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("john\\u0040x.org", "john@x.org"),
        ("john\\x40x.org", "john@x.org"),
        ("john%40x.org", "john@x.org"),
        ("john&#64;x.org", "john@x.org"),
        ("john&#x40;x.org", "john@x.org"),
        ("john&commat;x&period;org", "john@x.org"),
        ("4\\u200b111", "4111"),
        ("a\\nb\\tc\\rd\\\\n", "a\nb\tc\nd\\n"),
        ('\\"quoted\\/', '"quoted/'),
        ("4\x001\x081\x7f1\x1c", "4111"),
        ("50% of 3 & 4 are \\ here", "50% of 3 & 4 are \\ here"),
        ("&#9999999;&#xffffff;", ""),
        ("\\ud83d\\ude00", ""),
        ("\\u001f|\\u001d", "|"),
    ],
)
def test_escapes_and_control_characters_are_undone(text: str, plain: str) -> None:
    assert re.search(DISGUISED, text.encode()) is not None or plain == text
    assert undisguise(text).text == plain


def test_a_span_of_the_plain_text_is_traced_to_the_original() -> None:
    text = "to j\u200bohn\\u0040x.org!"
    plain = undisguise(text)
    start = plain.text.index("john")
    first, last = plain.original(start, start + len("john@x.org"))
    assert text[first:last] == "j\u200bohn\\u0040x.org"


def test_characters_outside_the_basic_plane_count_as_one() -> None:
    text = "🎉🎉 john@x.org\u200b"
    plain = undisguise(text)
    first, last = plain.original(3, 13)
    assert text[first:last] == "john@x.org"


@given(st.text())
def test_any_text_becomes_ascii_with_offsets_that_ascend(text: str) -> None:
    plain = undisguise(text)
    assert plain.text.isascii()
    assert len(plain.text) == len(plain.starts) == len(plain.ends)
    position = 0
    for start, end in zip(plain.starts, plain.ends, strict=True):
        assert position <= start < end <= len(text)
        position = end
    assert plain_bytes(text).isascii()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\%&")))
def test_plain_text_is_left_alone(text: str) -> None:
    assert plain_bytes(text) == text.encode()
    assert undisguise(text).text == text
    assert re.search(DISGUISED, text.encode()) is None
