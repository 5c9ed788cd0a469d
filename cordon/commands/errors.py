"""cordon errors: what a code means that Cordon told, and what to do."""

from __future__ import annotations

import difflib
import re
from typing import Final

import click

from cordon.commands.common import json_option
from cordon.explained import GROUPS
from cordon.output import emit

_WIDTH: Final = 100


@click.command()
@click.argument("code", required=False)
@json_option
def errors(code: str | None, as_json: bool) -> None:
    """Explain CODE: of an error, of a finding about a bundle, or of a refused call. Without it, list all codes.

    A code can stand for something in more than one place; all of them are shown.
    """
    if code is None:
        listed = {title: sorted(group.pages) for title, group in GROUPS.items()}
        text = "\n\n".join(
            f"{click.style(title, bold=True)}\n{_shown(GROUPS[title].about)}\n\n{_wrapped(codes)}"
            for title, codes in listed.items()
        )
        emit(listed, text, as_json)
        return
    found = {title: group.pages[code] for title, group in GROUPS.items() if code in group.pages}
    if not found:
        every = sorted({each for group in GROUPS.values() for each in group.pages})
        near = difflib.get_close_matches(code, every, n=1)
        hint = f"did you mean {near[0]}?" if near else "'cordon errors' lists them"
        raise click.UsageError(f"there is no code {code!r}; {hint}")
    text = "\n\n".join(
        f"{click.style(f'{title}: {code}', bold=True)}\n\n{_shown(page)}" for title, page in found.items()
    )
    emit(found, text, as_json)


def _shown(page: str) -> str:
    """Markdown on a terminal: prose in lines of a bearable length, code as it is."""
    parts = page.split("```")
    for at in range(0, len(parts), 2):
        prose = re.sub(r"^#+ ", "", parts[at], flags=re.MULTILINE)
        lines = (click.wrap_text(line, width=_WIDTH) if line else line for line in prose.split("\n"))
        parts[at] = re.sub(r"\*\*(.+?)\*\*", lambda match: click.style(match[1], bold=True), "\n".join(lines))
    for at in range(1, len(parts), 2):
        parts[at] = "\n".join(f"    {line}" if line else "" for line in parts[at].split("\n")[1:-1])
    return "".join(parts)


def _wrapped(codes: list[str]) -> str:
    return click.wrap_text(", ".join(codes), width=_WIDTH, initial_indent="  ", subsequent_indent="  ")
