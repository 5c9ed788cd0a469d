"""Amounts with units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rego.units import parse, parse_bytes


@given(st.integers(0, 9_999), st.sampled_from("KMGTPE"))
def test_whole_amounts_are_exact_or_an_error(amount: int, unit: str) -> None:
    power = "KMGTPE".index(unit) + 1
    for written, factor in ((unit, 1000), (unit + "i", 1024)):
        wanted = amount * factor**power
        if wanted < 2**64:
            assert parse(f"{amount}{written}") == wanted
        else:
            with pytest.raises(ValueError, match="64 bits"):
                parse(f"{amount}{written}")


def test_case_tells_milli_from_mega() -> None:
    assert parse("100m") == 0.1
    assert parse("1M") == 1_000_000
    assert parse_bytes("1m") == 1_000_000


def test_bytes_are_cut_to_whole_ones() -> None:
    assert parse_bytes("1.5KiB") == 1536
    assert parse_bytes("0.0005KB") == 0
    assert parse_bytes('"10 "'.replace(" ", "")) == 10


@pytest.mark.parametrize("written", ["", "K", "1 K", "1KK", "é", "1e999999", "--1"])
def test_what_is_no_amount_is_an_error(written: str) -> None:
    for function in (parse, parse_bytes):
        with pytest.raises(ValueError, match=r"amount|unit|spaces"):
            function(written)
