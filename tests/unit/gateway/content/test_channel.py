"""A growing text: what is ready, what was found, what a piece becomes."""

from __future__ import annotations

import random

import pytest

from gateway.content.breaks import WINDOW
from gateway.content.channel import Channel
from gateway.content.guard import guard
from gateway.content.patterns import PatternScanner
from gateway.content.redact import Redactor
from tests.support.content import KEY, MASK_ALL, arguments, cut, planted

SCANNER = PatternScanner()


def through(text: str, pieces: list[str], *, is_json: bool = False, redact: dict[str, str] = MASK_ALL) -> str:
    """The text after a channel, asked for piece by piece as soon as each is ready."""
    channel = Channel("/x", SCANNER, None, is_json=is_json)
    redactor = Redactor(redact, KEY)
    out: list[str] = []
    waiting: list[tuple[int, str]] = []
    for piece in [*pieces, None]:
        if piece is not None:
            waiting.append((channel.push(piece), piece))
        channel.advance(final=piece is None)
        while waiting and waiting[0][0] + len(waiting[0][1]) <= channel.ready:
            out.append(channel.piece(*waiting.pop(0), redactor))
    assert not waiting and channel.ended and channel.ready == channel.total == len(text)
    return "".join(out)


def test_a_finding_is_put_where_it_begins_and_taken_out_of_later_pieces() -> None:
    channel = Channel("/x", SCANNER, None)
    redactor = Redactor(MASK_ALL, KEY)
    pieces = ["to jo", "hn@x", ".or", "g now ", "ok "]
    starts = [channel.push(piece) for piece in pieces]
    (match,) = channel.advance()
    assert (match.start, match.end) == (3, 13)
    assert [channel.piece(start, piece, redactor) for start, piece in zip(starts, pieces, strict=True)] == [
        "to [EMAIL]",
        "",
        "",
        " now ",
        "ok ",
    ]


def test_nothing_is_ready_that_may_yet_become_a_finding() -> None:
    channel = Channel("/x", SCANNER, None)
    channel.push("write to john")
    assert channel.advance() == []
    assert channel.ready == len("write to ")
    channel.push("@example.com")
    assert channel.advance() == []
    assert channel.ready == len("write to ")
    channel.push(" and ")
    assert len(channel.advance()) == 1
    assert channel.ready == channel.total


def test_the_end_makes_everything_ready() -> None:
    channel = Channel("/x", SCANNER, None)
    channel.push("a@b.org")
    assert channel.advance() == []
    assert [match.type for match in channel.advance(final=True)] == ["email"]
    assert channel.ready == 7 and channel.ended


@pytest.mark.parametrize("seed", range(40))
def test_any_cut_gives_what_the_whole_gives(seed: int) -> None:
    rng = random.Random(seed)
    text = planted(rng, 4)
    expected = Redactor(MASK_ALL, KEY).text(text, SCANNER.scan(text))
    for longest in (1, 5, 50, 10_000):
        assert through(text, cut(rng, text, longest)) == expected


@pytest.mark.parametrize("seed", range(30))
def test_json_text_stays_the_same_json_for_any_cut(seed: int) -> None:
    rng = random.Random(seed)
    text = arguments(rng)
    expected = Redactor(MASK_ALL, KEY).json_text(text, SCANNER.scan(text))
    for longest in (1, 5, 10_000):
        assert through(text, cut(rng, text, longest), is_json=True) == expected


@pytest.mark.parametrize("filling", ["x", "1", "a1", "-", "."])
@pytest.mark.parametrize("size", [100, WINDOW - 30, WINDOW, 3 * WINDOW])
def test_text_without_any_break_is_held_in_windows_and_gives_the_same_for_any_cut(filling: str, size: int) -> None:
    text = (filling * size)[:size] + " a@b.org "
    results = {
        through(text, cut(random.Random(seed), text, longest)) for seed, longest in enumerate((700, 5_000, 100_000))
    }
    assert len(results) == 1
    assert "a@b.org" not in results.pop()


def test_what_is_kept_does_not_grow_with_the_text() -> None:
    channel = Channel("/x", SCANNER, None)
    for _ in range(2_000):
        start = channel.push("some words to go on with, and ")
        channel.advance()
        assert len(channel._text) < 4_000
        channel.piece(start, "some words to go on with, and ", Redactor({}, KEY))
    longest = Channel("/x", SCANNER, None)
    for _ in range(400):
        longest.push("x" * 100)
        longest.advance()
        assert len(longest._text) <= WINDOW + 2_000


def test_a_secret_that_is_not_redacted_passes_and_one_decision_holds_for_all_its_pieces() -> None:
    channel = Channel("/x", SCANNER, None)
    redactor = Redactor({}, KEY)
    first, second = channel.push("a@b"), channel.push(".org, ")
    channel.advance()
    assert channel.piece(first, "a@b", redactor) == "a@b"
    assert channel.piece(second, ".org, ", redactor) == ".org, "


def test_touched_says_whether_a_piece_loses_something() -> None:
    channel = Channel("/x", SCANNER, None)
    channel.push("to a@b.org now ")
    channel.advance()
    redactor = Redactor({"email": "mask"}, KEY)
    assert channel.touched(0, 4, redactor) and channel.touched(9, 12, redactor)
    assert not channel.touched(0, 3, redactor) and not channel.touched(10, 15, redactor)
    assert not channel.touched(0, 15, Redactor({"phone": "mask"}, KEY))


def test_a_blocked_pattern_holds_back_as_much_text_as_it_can_match() -> None:
    channel = Channel("/x", SCANNER, guard((("p", "top secret [0-9]{2}"),)))
    channel.push("this is the plain beginning of a text, top sec")
    assert channel.advance() == []
    assert channel.ready <= len("this is the plain beginning of a text, ")
    channel.push("ret 4")
    assert channel.advance() == []
    channel.push("2 and so on ")
    matches = channel.advance()
    assert [(match.type, match.start) for match in matches] == [("blocked_pattern:p", 39)]


def test_a_match_at_the_end_counts_only_when_the_text_is_over() -> None:
    channel = Channel("/x", SCANNER, guard((("p", "secret\\b"),)))
    channel.push("a secret")
    assert channel.advance() == []
    channel.push("ary of state ")
    assert channel.advance() == []
    channel.push("secret")
    assert len(channel.advance(final=True)) == 1


def test_control_characters_that_the_scanner_reserves_are_passed_on() -> None:
    text = "a\x1fb\x1dc d@e.org\x1f "
    assert through(text, [text]) == "a\x1fb\x1dc [EMAIL]\x1f "


@pytest.mark.parametrize("pattern", [None, "grew", "10:30", "x$"])
@pytest.mark.parametrize("seed", range(40))
def test_clean_text_passes_at_once_as_it_does_in_pieces_and_any_other_is_left_alone(
    seed: int, pattern: str | None
) -> None:
    rng = random.Random(seed)
    blocked = None if pattern is None else guard((("p", pattern),))
    at_once, alone = (Channel("/x", SCANNER, blocked, is_json=seed % 2 == 0) for _ in range(2))
    for _ in range(6):
        pieces = cut(rng, planted(rng, rng.randint(0, 1), 6))
        before = (at_once.total, at_once.settled, at_once.ready)
        passed = at_once.pass_clean("".join(pieces))
        found = []
        for piece in pieces:
            alone.push(piece)
            found += alone.advance()
        if passed:
            assert not found
        else:
            assert (at_once.total, at_once.settled, at_once.ready) == before
            at_once.push("".join(pieces))
            assert at_once.advance() == found or pattern is not None
        assert (at_once.total, at_once.settled, at_once.ready) == (alone.total, alone.settled, alone.ready)


def test_text_does_not_pass_after_its_end() -> None:
    channel = Channel("/x", SCANNER, None)
    assert channel.pass_clean("some words ") and channel.ready == 11
    channel.advance(final=True)
    assert not channel.pass_clean("more ")
