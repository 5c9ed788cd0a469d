"""Numbers that a double cannot hold as written are found wherever they stand."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.numbers import LARGEST, exact, inexact_number


@pytest.mark.parametrize(
    "text",
    ["0", "-0", "0.0", "-0.0", "1", "-1", "0.1", "0.25", "1e3", "1E3", "1.0", "1.50", "9007199254740992",
     "-9007199254740992", "9007199254740.992", "1e15", "12345678901234.5"],
)  # fmt: skip
def test_numbers_that_are_taken(text: str) -> None:
    assert exact(text)
    assert inexact_number(b'{"n": %s}' % text.encode()) == ""


@pytest.mark.parametrize(
    "text",
    ["9007199254740993", "-9007199254740993", "9007199254740994", "1e16", "1e400", "-1e400", "1e-400",
     "0.10000000000000000555", "0.1000000000000000055511151231257827", "3.14159265358979323846", "1e99", "1E+99",
     "9007199254740992.5", "100000000000000000000000", "1.00000000000000000001", "4.9406564584124654e-325",
     "99999999999999e2", "12345678901234e9", "1e-324", "-1E-999", "1.5e-400"],
)  # fmt: skip
def test_numbers_that_are_refused(text: str) -> None:
    assert not exact(text)
    for document in (b"%s", b'{"n":%s}', b"[%s]", b"[1, %s]", b"[1,%s]", b'{"a":{"b":[0,%s]}}', b'{"a":\t%s}', b" %s"):
        assert "compared exactly" in inexact_number(document % text.encode())


def test_a_number_that_a_key_repeats_is_found() -> None:
    assert inexact_number(b'{"n": 9007199254740993, "n": 1}')


def test_digits_in_texts_are_no_numbers() -> None:
    assert inexact_number(b'{"id": "9007199254740993", "t": "a, 12345678901234567890", "k": ":1e999"}') == ""
    assert inexact_number(b'{"12345678901234567890": 1}') == ""
    assert inexact_number(b'{"a": "\\", 12345678901234567890"}') == ""


def test_what_looks_like_a_number_and_is_no_json_is_refused() -> None:
    assert inexact_number(b'{"n": 12345678901234567890')
    assert inexact_number(b"12345678901234567890 x")
    assert inexact_number(b"[" * 100_000 + b"12345678901234567890")


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-(2.0**53), max_value=2.0**53))
def test_what_a_double_prints_is_exact(value: float) -> None:
    assert exact(repr(value))
    assert inexact_number(json.dumps({"n": value}).encode()) == ""


@given(st.integers(-(2**70), 2**70))
def test_whole_numbers_are_exact_within_reach(value: int) -> None:
    within = abs(value) <= LARGEST
    assert exact(str(value)) == within
    assert (inexact_number(json.dumps({"a": [value]}).encode()) == "") == within


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30))
def test_what_is_exact_is_the_shortest_text_of_its_double(value: Decimal) -> None:
    text = str(value)
    if exact(text):
        assert Fraction(Decimal(repr(float(text)))) == Fraction(value)
        assert abs(value) <= LARGEST
