"""Check digits and ranges."""

from __future__ import annotations

import pytest

from gateway.content import checks


@pytest.mark.parametrize("digits", ["4111111111111111", "378282246310005", "6011111111111117", "79927398713", "0"])
def test_luhn_accepts_right_numbers_and_no_single_wrong_digit(digits: str) -> None:
    def right(number: str) -> bool:
        return checks.Luhn(number).holds(0, len(number))

    assert right(digits)
    for position, digit in enumerate(digits):
        for other in "0123456789".replace(digit, ""):
            assert not right(digits[:position] + other + digits[position + 1 :])


@pytest.mark.parametrize(
    ("digits", "known"),
    [
        ("4111111111111111", True),
        ("4222222222222", True),
        ("4917610000000000003", True),
        ("5555555555554444", True),
        ("2223003122003222", True),
        ("378282246310005", True),
        ("30569309025904", True),
        ("6011111111111117", True),
        ("6200000000000005", True),
        ("3530111333300000", True),
        ("180055555555559", True),
        ("6304000000000000", True),
        ("411111111111111", False),
        ("1111111111111117", False),
        ("9999999999999995", False),
        ("55555555555544440", False),
        ("2720990000000000", True),
        ("2721000000000000", False),
    ],
)
def test_card_networks_are_told_by_prefix_and_length(digits: str, known: bool) -> None:
    assert (len(digits) in checks.card_lengths(digits[:4])) is known


IBANS = pytest.mark.parametrize(
    ("text", "right"),
    [
        ("GB82WEST12345698765432", True),
        ("DE89370400440532013000", True),
        ("NO9386011117947", True),
        ("MT84MALT011000012345MTLCAST001S", True),
        ("GB82WEST12345698765433", False),
        ("GB28WEST12345698765432", False),
        ("DE8937040044053201300", False),
        ("ZZ89370400440532013000", False),
        ("DE89-70400440532013000", False),
    ],
)


def test_any_stretch_of_a_run_of_digits_is_checked() -> None:
    run = "12" + "4111111111111111" + "378282246310005" + "9"
    luhn = checks.Luhn(run)
    assert luhn.holds(2, 18) and luhn.holds(18, 33)
    assert not luhn.holds(1, 17) and not luhn.holds(3, 19)


@IBANS
def test_ibans_are_told_by_country_length_and_remainder(text: str, right: bool) -> None:
    assert checks.iban(text) is right


def test_iban_length_is_zero_for_no_country() -> None:
    assert checks.iban_length("DE") == 22
    assert checks.iban_length("ZZ") == 0


@pytest.mark.parametrize(
    ("digits", "possible"),
    [
        ("123456789", True),
        ("000456789", False),
        ("666456789", False),
        ("900456789", False),
        ("123006789", False),
        ("123450000", False),
    ],
)
def test_social_security_numbers_have_no_empty_or_reserved_part(digits: str, possible: bool) -> None:
    assert checks.us_ssn(digits) is possible


@pytest.mark.parametrize(
    ("text", "right"),
    [("10.0.0.1", True), ("256.1.1.1", False), ("2001:db8::1", True), ("2001:db8:::1", False), ("1.2.3", False)],
)
def test_addresses_are_read_as_the_standard_says(text: str, right: bool) -> None:
    assert checks.ip(text) is right


def test_entropy_is_in_bits_for_a_character() -> None:
    assert checks.entropy("aaaa") == 0
    assert checks.entropy("abcd") == 2
