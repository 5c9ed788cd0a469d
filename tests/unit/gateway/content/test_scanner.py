"""The seam: joining fields, finding the way back, resolving overlaps."""

from __future__ import annotations

from gateway.content.scanner import NAME, WALL, Match, locate, merge, readable


def test_reserved_characters_are_disarmed_in_place() -> None:
    assert readable(f"a{WALL}b{NAME}c") == "a\x1cb\x1cc"
    text = "nothing to do"
    assert readable(text) is text


def test_matches_in_joined_fields_are_traced_to_their_field() -> None:
    fields = ["", "abc", "", "", "defg", ""]
    joined = WALL.join(fields)
    matches = [
        Match("x", joined.index("b"), joined.index("b") + 2, 1),
        Match("y", joined.index("d"), joined.index("g") + 1, 2),
    ]
    assert list(locate(fields, matches)) == [(1, Match("x", 1, 3, 1)), (4, Match("y", 0, 4, 2))]


def test_overlapping_matches_become_one_of_the_surer_type() -> None:
    matches = [
        Match("phone", 5, 15, 50),
        Match("payment_card", 0, 10, 95),
        Match("email", 15, 20, 95),
        Match("iban", 18, 30, 99),
    ]
    assert merge(matches) == [Match("payment_card", 0, 15, 95), Match("iban", 15, 30, 99)]


def test_matches_that_only_touch_stay_apart() -> None:
    matches = [Match("a", 0, 5, 1), Match("b", 5, 9, 1)]
    assert merge(reversed(matches)) == matches
