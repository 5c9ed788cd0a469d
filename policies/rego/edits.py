"""Changes to a module's text by byte positions, made together at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """Text to go before and after a part of the source; with None for `after`, `before` takes the part's place.

    Parts may lie within each other, but not in one that is replaced.
    """

    start: int
    end: int
    before: str
    after: str | None = None


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made."""
    source = text.encode()
    inserts: list[tuple[int, int, int, bytes]] = []
    skip: dict[int, int] = {}
    for edit in edits:
        size = edit.end - edit.start
        if edit.after is None:
            skip[edit.start] = edit.end
        else:
            inserts.append((edit.end, 0, size, edit.after.encode()))
        inserts.append((edit.start, 1, -size, edit.before.encode()))
    parts: list[bytes] = []
    at = 0
    for place, _, _, addition in sorted(inserts):
        parts += (source[at:place], addition)
        at = skip.get(place, place)
    parts.append(source[at:])
    return b"".join(parts).decode()


def outermost(edits: Iterable[Edit]) -> list[Edit]:
    """The edits without those that lie in a part which another one replaces."""
    kept: list[Edit] = []
    end = 0
    for edit in sorted(edits, key=lambda each: (each.start, -each.end)):
        if edit.start >= end:
            kept.append(edit)
            if edit.after is None:
                end = edit.end
    return kept
