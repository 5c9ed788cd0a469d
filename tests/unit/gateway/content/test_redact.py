"""What takes the place of a finding."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.errors import ContentError
from gateway.content.redact import Redactor, check_modes, mask, number_span, quoted_after
from gateway.content.scanner import Match

KEY = b"k" * 32
MAIL = Match("email", 3, 10, 95)
TEXT = "to a@b.org now"


def test_mask_drop_and_hash_take_the_place_of_the_finding() -> None:
    assert Redactor({"email": "mask"}, KEY).text(TEXT, [MAIL]) == "to [EMAIL] now"
    assert Redactor({"email": "drop"}, KEY).text(TEXT, [MAIL]) == "to  now"
    hashed = Redactor({"email": "hash"}, KEY).text(TEXT, [MAIL])
    assert (
        hashed.startswith("to [EMAIL#")
        and hashed.endswith("] now")
        and len(hashed) == len("to [EMAIL#234567234567] now")
    )


def test_other_types_stay() -> None:
    text = Redactor({"phone": "mask"}, KEY).text(TEXT, [MAIL])
    assert text == TEXT


def test_the_hash_is_stable_for_a_key_and_different_for_another() -> None:
    def hashed(found: str, kind: str = "email", key: bytes = KEY) -> str:
        return Redactor({kind: "hash"}, key).replacement(Match(kind, 0, 1, 1), found)

    assert hashed("a@b.org") == hashed("A@B.org")
    assert hashed("a@b.org") != hashed("a@b.org", key=b"x" * 32)
    assert hashed("4111 1111-1111", "payment_card") == hashed("411111111111", "payment_card")
    assert hashed("1", "phone").split("#")[1] != hashed("1", "us_ssn").split("#")[1]
    assert "a@b.org" not in hashed("a@b.org")


@pytest.mark.parametrize(
    "redact",
    [
        {"email": "tokenise"},
        {"email": "MASK"},
        {"email": ""},
        {"unreadable": "mask"},
        {"too_long": "drop"},
        {"blocked_pattern:x": "mask"},
    ],
)
def test_a_mode_that_is_not_carried_out_is_refused(redact: dict[str, str]) -> None:
    with pytest.raises(ContentError) as error:
        check_modes(redact)
    assert error.value.code == "not_enforced"
    with pytest.raises(ContentError):
        Redactor(redact, KEY)
    with pytest.raises(ContentError):
        Redactor({}, KEY).add(redact)


def test_types_can_be_added() -> None:
    redactor = Redactor({}, KEY)
    assert not redactor.changes(MAIL)
    redactor.add({"email": "drop"})
    assert redactor.changes(MAIL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":4111}', '{"a":"[C]"}'),
        ('{"a":-4111.0e1}', '{"a":"[C]"}'),
        ('{"a":"4111"}', '{"a":"[C]"}'),
        ('{"4111":1}', '{"[C]":1}'),
        ('{"a":"\\"4111\\""}', '{"a":"\\"[C]\\""}'),
        ('{"a":"\\\\","b":4111}', '{"a":"\\\\","b":"[C]"}'),
        ('[4111,"x"]', '["[C]","x"]'),
        ("4111", '"[C]"'),
    ],
)
def test_json_text_stays_json(text: str, expected: str) -> None:
    start = text.index("4111")
    redactor = Redactor({"c": "mask"}, KEY)
    changed = redactor.json_text(text, [Match("c", start, start + 4, 90)])
    assert changed == expected
    json.loads(changed)


LEAVES = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_being_inside_a_string_is_told_for_every_place(value: object) -> None:
    text = json.dumps(value)
    inside = False
    escaped = False
    for position, char in enumerate(text):
        if not escaped:
            assert quoted_after(text[:position], False) == inside
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            inside = not inside


def test_a_number_is_taken_whole_but_not_beyond_the_floor() -> None:
    assert number_span("[-4111.5e3]", 0, 2, 6) == (1, 10)
    assert number_span("--4111", 1, 2, 6) == (1, 6)


def test_masks_are_not_found_again() -> None:
    from gateway.content.patterns import TYPES, PatternScanner

    scanner = PatternScanner()
    for kind in TYPES:
        for mode in ("mask", "hash"):
            new = Redactor({kind: mode}, KEY).replacement(Match(kind, 0, 1, 1), "secret")
            assert scanner.scan(f'password = "{new}" api_key={new} call {new}') == []
        assert mask(kind) == f"[{kind.upper()}]"
