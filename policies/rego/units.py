"""`units.parse` and `units.parse_bytes`: amounts with a unit, in the arithmetic that OPA uses for them."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Final

from policies.numbers import exact
from policies.rego.checks import kept, text

_AMOUNT: Final = re.compile(r"(?P<sign>[+-]?)(?P<whole>[0-9]*)\.?(?P<part>[0-9]*)(?:[eE](?P<power>[+-]?[0-9]{1,6}))?")
_LETTERS: Final = "kmgtpe"
_MOST_DIGITS: Final = 64
_MOST_POWER: Final = 400


def parse(value: object) -> int | float:
    """`units.parse`: with decimal, binary (`Ki`) and milli (`m`) units; rounded to ten places."""
    amount, unit = _cut(text(value).replace('"', ""))
    number = _fraction(amount) * _factor(unit[:1] + unit[1:].lower())
    if number.denominator == 1:
        return kept(number.numerator)
    scaled = abs(number) * 10**10
    rounded = Fraction((2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator), 10**10)
    if number < 0:
        rounded = -rounded
    written = f"{Decimal(rounded.numerator) / Decimal(rounded.denominator):f}"
    if rounded.denominator == 1 or Fraction(written) != rounded or not exact(written):
        raise ValueError("an amount whose digits are not kept as OPA writes them")
    return float(written)


def _factor(unit: str) -> Fraction:
    if unit == "m":
        return Fraction(0.001)  # the double, as OPA has it
    if unit == "":
        return Fraction(1)
    place = _LETTERS.find(unit[0].lower()) + 1
    if not place or unit[1:] not in ("", "i"):
        raise ValueError("not a unit")
    return Fraction(1024**place if unit[1:] else 1000**place)


def parse_bytes(value: object) -> int:
    """`units.parse_bytes`: decimal (`KB`) and binary (`KiB`) units in any case, cut to whole bytes."""
    amount, unit = _cut(text(value).replace('"', "").lower())
    place = _LETTERS.find(unit[0]) + 1 if unit else 0
    if unit and (not place or unit[1:] not in ("", "b", "i", "ib")):
        raise ValueError("not a unit of bytes")
    found = _matched(amount)
    digits, power = _parts(found)
    if digits >= 2**64 or power < -55:
        raise ValueError("an amount with too many digits")
    number = _rounded(_rounded(digits * Fraction(10) ** power) * (1024 if "i" in unit else 1000) ** place)
    return kept((-1 if found["sign"] == "-" else 1) * int(number))


def _rounded(number: Fraction) -> Fraction:
    """A number with a mantissa of 64 bits, ties to even: OPA computes bytes with such floats."""
    if not number:
        return number
    shift = number.numerator.bit_length() - number.denominator.bit_length() - 64
    scaled = number / Fraction(2) ** shift
    while scaled >= 2**64:
        shift, scaled = shift + 1, scaled / 2
    while scaled < 2**63:
        shift, scaled = shift - 1, scaled * 2
    return round(scaled) * Fraction(2) ** shift


def _cut(written: str) -> tuple[str, str]:
    """The amount and the unit: an `e` belongs to the amount where a digit or a sign follows."""
    if " " in written or not written.isascii():
        raise ValueError("spaces and other alphabets have no place in an amount")
    found = re.match(r"(?:[0-9.+-]|[eE](?:[+-]|(?=[0-9])))*", written)
    assert found is not None
    return found[0], written[found.end() :]


def _matched(amount: str) -> re.Match[str]:
    found = _AMOUNT.fullmatch(amount)
    if found is None or not found["whole"] + found["part"] or len(amount) > _MOST_DIGITS:
        raise ValueError("not an amount")
    return found


def _parts(found: re.Match[str]) -> tuple[int, int]:
    power = int(found["power"] or 0) - len(found["part"])
    if abs(power) > _MOST_POWER:
        raise ValueError("an amount with too large a power")
    return int(found["whole"] + found["part"]), power


def _fraction(amount: str) -> Fraction:
    found = _matched(amount)
    digits, power = _parts(found)
    return (-1 if found["sign"] == "-" else 1) * digits * Fraction(10) ** power
