from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cordon.output import emit, json_text, moment, printable, progress, table
from tests.support.cli import Installation


def test_a_table_s_columns_are_aligned() -> None:
    lines = click.unstyle(table(("A", "LONG"), [("x", 1), ("longer", None)], "none")).splitlines()
    assert lines == ["A       LONG", "x       1", "longer  -"]


def test_without_rows_the_words_for_it_are_said() -> None:
    assert table(("A",), [], "There are no keys.") == "There are no keys."


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (True, "True"), (("a", "b"), "a, b"), ((), "-"), ({"a": 1}, "a=1"), ({}, "-"), ("é", "é"), (0, "0")],
)
def test_values_are_printed_as_people_read_them(value: object, text: str) -> None:
    assert printable(value) == text


@given(st.text())
def test_no_text_can_move_the_cursor_or_hide_what_follows(text: str) -> None:
    assert all(char.isprintable() for char in printable(text))


def test_right_to_left_marks_are_made_visible() -> None:
    assert printable("a\u202eb") == "a\ufffdb"


def test_json_takes_everything_that_commands_have() -> None:
    value = {"b": MappingProxyType({"x": (1, 2)}), "a": frozenset({"y"})}
    assert json.loads(json_text(value)) == {"a": ["y"], "b": {"x": [1, 2]}}
    assert "\n" not in json_text(value, compact=True)


def test_either_json_or_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": 1}, "one a", False)
    assert capsys.readouterr().out == "one a\n"
    emit({"a": 1}, "one a", True)
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_a_moment_is_local_time_and_anything_else_a_dash() -> None:
    assert len(moment(1_795_456_370_911)) == len("2026-11-23 17:52:50")
    assert moment(None) == "-"


def test_no_progress_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Verifying", 100, False) as bar:
        bar.update(100)
    assert capsys.readouterr() == ("", "")


def test_an_explanation_moves_no_cursor_whatever_a_bundle_names_its_files(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "\x1b[2J.rego").write_text(
        'package cordon.request\n\ndecision := {"allow": true} if input.fine\n\ndefault decision := {"allow": false}\n'
    )
    (bundle / "response.rego").write_text('package cordon.response\n\ndecision := {"allow": true}\n')
    (tmp_path / "input.json").write_text("{}")
    result = Installation(tmp_path)("policy", "explain", str(bundle), "--input", str(tmp_path / "input.json"))
    assert "�[2J.rego:3  cordon.request.decision" in result.out, result.err
    assert "\x1b[2J" not in result.out
