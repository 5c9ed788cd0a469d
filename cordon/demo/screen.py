"""How the demonstration is told: headings, aligned facts, wrapped text, marks for what went as told and what did
not."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Final

import click

from cordon.output import printable

LABEL: Final = 12
INDENT: Final = "  "
NARROWEST: Final = 60
WIDEST: Final = 110
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")


class Screen:
    """Writes to the terminal and remembers what failed."""

    def __init__(self) -> None:
        self.width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns - 2))
        self.failures: list[str] = []
        self._number = 0
        self._column = 0
        self._word = ""

    def title(self, text: str, lead: str) -> None:
        """The first lines."""
        click.echo()
        click.secho(f"{INDENT}{text}", bold=True)
        self.paragraph(lead)

    def scene(self, text: str) -> None:
        """The heading of the next scene, numbered."""
        self._number += 1
        self.heading(f"{self._number}  {text}")

    def heading(self, text: str) -> None:
        """A heading across the width."""
        line = "─" * max(3, self.width - len(text) - 4)
        click.echo()
        click.echo(f"{click.style('──', dim=True)} {click.style(text, bold=True)} {click.style(line, dim=True)}")

    def paragraph(self, text: str) -> None:
        """A few sentences, wrapped."""
        for line in textwrap.wrap(text, self.width - len(INDENT)):
            click.echo(f"{INDENT}{click.style(line, dim=True)}")

    def fact(self, label: str, text: str, marked: Sequence[str] = (), colour: str = "yellow") -> None:
        """A labelled text, wrapped; the words of the texts in `marked` are coloured."""
        words = {word for text in marked for word in text.split()}
        room = self.width - len(INDENT) - LABEL
        lines = textwrap.wrap(printable(text), room, break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            shown = " ".join(
                click.style(word, fg=colour, bold=True) if word.strip(".,") in words else word
                for word in line.split(" ")
            )
            name = click.style((label if number == 0 else "").ljust(LABEL), fg="cyan")
            click.echo(f"{INDENT}{name}{shown}")

    def opens(self, label: str) -> None:
        """Begin a fact whose text comes in pieces; `piece` and `closes` go on."""
        self._column = 0
        self._word = ""
        click.echo(f"{INDENT}{click.style(label.ljust(LABEL), fg='cyan')}", nl=False)

    def piece(self, text: str) -> None:
        """A piece of streamed text, shown word by word as they are complete."""
        *words, self._word = (self._word + printable(text)).split(" ")
        for word in words:
            self._show(word)

    def closes(self) -> None:
        """The streamed text is over."""
        self._show(self._word)
        click.echo()

    def _show(self, word: str) -> None:
        if self._column + 1 + len(word) > self.width - len(INDENT) - LABEL:
            click.echo(f"\n{INDENT}{' ' * LABEL}", nl=False)
            self._column = 0
        space = " " if self._column else ""
        self._column += len(space) + len(word)
        click.echo(space + word, nl=False)

    def check(self, passed: object, text: str) -> None:
        """Say that something is as told, or that it is not, which makes the demonstration fail."""
        if not passed:
            self.failures.append(text)
        mark = click.style("✓", fg="green", bold=True) if passed else click.style("✗ not so:", fg="red", bold=True)
        first, *rest = textwrap.wrap(text, self.width - len(INDENT) - 2)
        click.echo(f"{INDENT}{mark} {first}")
        for line in rest:
            click.echo(f"{INDENT}  {line}")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Aligned columns; the last one is cut to the width."""
        widths = [max(len(plain(row[column])) for row in [headings, *rows]) for column in range(len(headings))]
        taken = sum(widths[:-1]) + 2 * (len(widths) - 1) + len(INDENT)
        widths[-1] = max(10, min(widths[-1], self.width - taken))
        click.echo(click.style(f"{INDENT}{_aligned(headings, widths)}", dim=True))
        for row in rows:
            click.echo(f"{INDENT}{_aligned(row, widths)}")


def plain(text: str) -> str:
    """A text without colours."""
    return _STYLE.sub("", text)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = []
    for cell, width in zip(row, widths, strict=True):
        if len(plain(cell)) > width:
            cell = plain(cell)[: width - 1] + "…"
        cells.append(cell + " " * (width - len(plain(cell))))
    return "  ".join(cells).rstrip()
