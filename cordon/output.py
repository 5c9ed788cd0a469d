"""What commands print: tables and sentences for people, JSON for programs (`--json`)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
import orjson

Row = Sequence[object]


def emit(value: object, text: str, as_json: bool) -> None:
    """Print `value` as one JSON text, or `text` for people."""
    click.echo(json_text(value) if as_json else text)


def json_text(value: object, *, compact: bool = False) -> str:
    """JSON as commands print it; `compact` on one line."""
    options = orjson.OPT_SORT_KEYS | (0 if compact else orjson.OPT_INDENT_2)
    return orjson.dumps(value, default=_plain, option=options).decode()


def table(headings: Sequence[str], rows: Iterable[Row], empty: str) -> str:
    """Rows in aligned columns under their headings; `empty` is said where there are none."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not cells:
        return empty
    widths = [max(len(line[column]) for line in [list(headings), *cells]) for column in range(len(headings))]

    def aligned(line: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()

    return "\n".join([click.style(aligned(headings), bold=True), *(aligned(line) for line in cells)])


def printable(value: object) -> str:
    """A value as one line of a terminal: nothing in it can move the cursor or change colours."""
    if value is None:
        return "-"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(printable(item) for item in value) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(key)}={printable(item)}" for key, item in value.items()) or "-"
    return "".join(char if char.isprintable() else "�" for char in str(value))


def moment(at: object) -> str:
    """A time in ms since the epoch as local date and time."""
    if not isinstance(at, int):
        return "-"
    return datetime.fromtimestamp(at / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def good(text: str) -> str:
    """Text in the colour of what is in order."""
    return click.style(text, fg="green")


def bad(text: str) -> str:
    """Text in the colour of what is wrong."""
    return click.style(text, fg="red", bold=True)


def warned(text: str) -> str:
    """Text in the colour of what may be wrong."""
    return click.style(text, fg="yellow")


@contextmanager
def progress(label: str, total: int, hidden: bool) -> Iterator[Any]:
    """A progress bar on standard error with `update(by)`; nothing is shown where `hidden` or not on a terminal."""
    with click.progressbar(
        length=max(total, 1), label=label, file=sys.stderr, hidden=hidden or not sys.stderr.isatty()
    ) as bar:
        yield bar


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return sorted(value) if isinstance(value, (set, frozenset)) else list(value)
    return str(value)
