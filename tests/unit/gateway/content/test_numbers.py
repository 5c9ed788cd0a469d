"""Several numbers in one run of digits, and what stands around them."""

from __future__ import annotations

import pytest

from gateway.content import numbers


def found(text: str) -> list[tuple[str, str]]:
    return sorted((match.type, text[match.start : match.end]) for match in numbers.find(text, text.encode(), 0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "4111 1111 1111 1111 123-45-6789 555-123-4567",
            [("payment_card", "4111 1111 1111 1111"), ("phone", "555-123-4567"), ("us_ssn", "123-45-6789")],
        ),
        ("42 555-123-4567 24", [("phone", "555-123-4567")]),
        ("+49 300 8449863 2024", [("phone", "+49 300 8449863")]),
        ("no4111111111111111", [("payment_card", "4111111111111111")]),
        ("4111111111111111x", [("payment_card", "4111111111111111")]),
        ("id_4111111111111111", []),
        ("123-45-6789-1", []),
        ("1-123-45-6789", []),
        ("3782-822463-10005", [("payment_card", "3782-822463-10005")]),
        ("5555.5555.5555.4444", [("payment_card", "5555.5555.5555.4444")]),
        ("4111(1111)1111 1111", []),
        ("call 61 51 81", [("phone", "61 51 81")]),
        ("61 51 81 office", [("phone", "61 51 81")]),
        ("61 51 81", []),
        ("01 23 45 67 89", [("phone", "01 23 45 67 89")]),
        ("10 000 000 000", []),
        ("0487 23 46 71=x", []),
        ("tel:5551234567", [("phone", "5551234567")]),
        ("ref/5551234567", []),
        ("(555) 123-4567 ext. 12", [("phone", "(555) 123-4567 ext. 12")]),
        ("5551234567@x", []),
    ],
)
def test_numbers_are_told_apart(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


def test_a_card_is_found_in_a_run_of_any_length() -> None:
    for size in (10, 500, 997, 998, 999, 1000, 1001, 1002, 1003, 5000):
        text = "1 " * size + "4111 1111 1111 1111" + " 2" * 50
        assert ("payment_card", "4111 1111 1111 1111") in found(text), size


@pytest.mark.parametrize("size", [18, 19, 20, 100, 1_990, 1_999, 2_000, 2_001, 9_000])
def test_a_card_is_found_behind_groups_of_any_size(size: int) -> None:
    for before in (1, 2, 7, 30):
        text = ("7" * size + " ") * before + "4111 1111 1111 1111"
        assert ("payment_card", "4111 1111 1111 1111") in found(text), before


def test_confidence_says_how_usual_a_number_is_set() -> None:
    def confidence(text: str) -> int:
        (match,) = numbers.find(text, text.encode(), 0)
        return match.confidence

    assert confidence("4111 1111 1111 1111") > confidence("41 11 11 11 11 11 11 11") > confidence("x4111111111111111")
    assert confidence("+1 555 123 4567") > confidence("call 5551234567") > confidence("0487 23 46 71")
