"""What an approver is shown of a bundle is what the engine makes of it."""

from __future__ import annotations

import pytest

from policies.bundle import Bundle, make_bundle
from policies.differences import LONGEST_LINE, MOST_LINES, differences


def bundle(rules: str) -> Bundle:
    return make_bundle({"a.rego": f"package a\n{rules}".encode()})


def changes(rules: str) -> list[str]:
    (found,) = differences(bundle(""), bundle(rules))
    return [line for line in found.lines if not line.startswith(("@", " "))]


@pytest.mark.parametrize("end", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_comment_does_not_end_where_the_engine_has_it_go_on(end: str) -> None:
    """Else an approver saw a rule there that was none."""
    assert changes(f"# a{end}deny := true\n") == [f"+# a\\u{{{ord(end):x}}}deny := true"]


def test_what_turns_or_hides_the_text_is_written_out() -> None:
    assert changes('x := "\u202eeurt\u200b"\n') == ['+x := "\\u{202e}eurt\\u{200b}"']
    (found,) = differences(bundle(""), make_bundle({"a.rego": b"package a\n", "data.json": rb'{"a": "\u202e"}'}))
    assert any("\\u{202e}" in line for line in found.lines)


def test_a_long_line_is_shown_to_its_end() -> None:
    line = f"x := true{' ' * 2 * LONGEST_LINE}; y := true"
    shown = changes(line + "\n")
    assert "".join([shown[0][1:], *(each.removeprefix("+…") for each in shown[1:])]) == line
    assert max(map(len, shown)) <= LONGEST_LINE + 1


def test_an_end_of_line_of_two_characters_is_one() -> None:
    assert changes("x := 1\r\n\ty := 2\r\n") == ["+x := 1", "+\ty := 2"]


def test_what_is_not_shown_any_more_is_not_compared_either() -> None:
    many = {f"{name}.rego": b"package a\n" + b"x := 1\n" * (MOST_LINES + 1) for name in "ab"}
    first, second = differences(make_bundle({"c.rego": b"package a\n"}), make_bundle(many))[:2]
    assert first.lines[-1].startswith("…") and len(first.lines) == MOST_LINES + 1
    assert second.lines[0].startswith("…")
