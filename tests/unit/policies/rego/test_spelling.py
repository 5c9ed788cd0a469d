"""Spellings that the engine's parser does not know, as it gets them; what is uncertain stays for it to refuse."""

from __future__ import annotations

import pytest

from policies.rego.spelling import respell


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('x := $"a"', 'x := cordon_template(["a"])'),
        ('x := $"a {b}"', 'x := cordon_template(["a ", [cordon_part_0_12 | cordon_part_0_12 := b]])'),
        (r'x := $"\{a}\n"', r'x := cordon_template(["{a}\n"])'),
        ("x := $`a\nb`", "x := cordon_template([`a\nb`])"),
        ("x := input.if.in", 'x := input["if"]["in"]'),
        ("if.a := 1", "cordon_word_if.a := 1"),
        ('x := "input.if" # y.if', 'x := "input.if" # y.if'),
        ("import future.keywords.in", "import future.keywords.in"),
    ],
)
def test_read_as(written: str, read: str) -> None:
    assert respell(written) == read
    assert respell(written).count("\n") == written.count("\n")


@pytest.mark.parametrize(
    "written",
    [
        'x := $"{a; b}"',
        'x := $"{a',
        'x := $"{}"',
        'x := $"{a := 1; a}"',
        'x := $"{a # b}"',
        'x := $"{some y in z}"',
        'x := cordon_template(["a"]); y := $"b"',
        "import data.a.if\n\nx := if.b",
        "x := " + '$"{' * 7 + "a" + '}"' * 7,
    ],
)
def test_left_for_the_parser_to_refuse(written: str) -> None:
    assert respell(written) == written
