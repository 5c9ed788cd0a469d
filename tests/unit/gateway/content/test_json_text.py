"""JSON is read as only one reader could, or refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.content.errors import ContentError
from gateway.content.json_text import DEPTH, dump, parse_answer, parse_strict

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def folded(value: object) -> bool:
    """Whether an object somewhere has names that differ in letter case only."""
    if isinstance(value, dict):
        return len({key.casefold() for key in value}) != len(value) or any(map(folded, value.values()))
    return isinstance(value, list) and any(map(folded, value))


@given(VALUES)
def test_what_is_read_is_what_was_written(value: object) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode()
    if folded(value):
        with pytest.raises(ContentError):
            parse_strict(raw)
        return
    parsed, canonical = parse_strict(raw)
    assert parsed == value
    assert json.loads(canonical) == value
    assert parse_strict(canonical) == (parsed, canonical)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a":1,"\\u0061":2}', "duplicate_key"),
        (b'[{"x":{"a":1,"b":2,"a":1}}]', "duplicate_key"),
        (b'{"model":"a","Model":"b"}', "duplicate_key"),
        (b'{"stra\xc3\x9fe":1,"STRASSE":2}', "duplicate_key"),
        (b'{"a":9007199254740993}', "number"),
        (b'{"a":-9007199254740993}', "number"),
        (b'{"a":123456789012345678901234567890}', "number"),
        (b"[18446744073709551616]", "number"),
        (b"[1e999]", "number"),
        (b"NaN", "malformed"),
        (b"[Infinity]", "malformed"),
        (b"[-Infinity]", "malformed"),
        (b"", "malformed"),
        (b"{", "malformed"),
        (b'{"a":1}x', "malformed"),
        (b'{"a":1,}', "malformed"),
        (b"{'a':1}", "malformed"),
        (b'"\xff"', "malformed"),
        (b'"\\ud800"', "malformed"),
        (b'"\xed\xa0\x80"', "malformed"),
        (b'"\\x41"', "malformed"),
        (b'"a\nb"', "malformed"),
        (b"\xef\xbb\xbf{}", "malformed"),
        ('{"a":1}'.encode("utf-16"), "malformed"),
        (b"01", "malformed"),
        (b"[" * 65 + b"]" * 65, "too_deep"),
        (b"[" * 300 + b"]" * 300, "too_deep"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "too_deep"),
    ],
)
def test_what_could_be_read_differently_is_refused(raw: bytes, code: str) -> None:
    with pytest.raises(ContentError) as error:
        parse_strict(raw)
    assert error.value.code in (code, "malformed" if code == "number" and b"999" in raw else code)
    assert "9007199254740993" not in error.value.detail


def test_nesting_is_read_up_to_the_limit() -> None:
    raw = b"[" * DEPTH + b"]" * DEPTH
    assert parse_strict(raw)[1] == raw
    with pytest.raises(ContentError):
        parse_strict(b"[" * 100_000)


def test_spaces_escapes_and_number_forms_are_made_uniform() -> None:
    assert parse_strict(b' { "a" : [ 1.50 , "\\u0041" ] } ')[1] == b'{"a":[1.5,"A"]}'


def test_large_integers_are_read_up_to_the_limit() -> None:
    assert parse_strict(b"[9007199254740992]")[0] == [2**53]


@pytest.mark.parametrize("raw", [b"{", b"", b"NaN", b"[1e]", b"\xff", b'{"id":12345678901234567890123', b"[" * 5000])
def test_an_answer_that_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ContentError):
        parse_answer(raw)


def test_an_answer_keeps_integers_of_64_bits_and_the_last_of_two_equal_names() -> None:
    assert parse_answer(b'{"id":1234567890123456789}') == {"id": 1234567890123456789}
    assert parse_answer(b'{"a":1,"a":2}') == {"a": 2}


def test_values_without_a_json_form_are_refused() -> None:
    with pytest.raises(ContentError):
        dump({"a": 2**70})


@pytest.mark.parametrize("raw", [b"9007199254740993", b"-9007199254740993", b"18446744073709551615"])
def test_a_number_that_is_the_whole_body_has_the_same_bound(raw: bytes) -> None:
    with pytest.raises(ContentError, match="beyond"):
        parse_strict(raw)
