"""The seam between the machine that walks content and the engine that recognises what is sensitive in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

WALL = "\x1f"
"""Stands between two fields scanned in one pass: nothing matches across it, and no context reaches over it."""

NAME = "\x1d"
"""Stands between a field's name and its value: nothing matches across it, but the name is context to the value."""

_RESERVED = str.maketrans({WALL: "\x1c", NAME: "\x1c"})


class Match(NamedTuple):
    """One finding: `start` and `end` are offsets in characters of the scanned text, `confidence` is 0 to 100."""

    type: str
    start: int
    end: int
    confidence: int


class Scanner(Protocol):
    """Recognises sensitive text.

    `reach` is the longest match in characters, its context included. `scan` must be local: what lies `reach`
    characters behind a place cannot change what is found there. `settled` says how much of a growing text is safe.
    """

    reach: int

    def __hash__(self) -> int:
        """What was found is remembered by scanner and text, so equal scanners find the same."""
        ...

    def scan(self, text: str, start: int = 0) -> list[Match]:
        """Findings that begin at or after `start`, ordered, without overlaps; text before it is only context."""
        ...

    def settled(self, text: str, start: int, seen: int) -> int:
        """The largest place p ≥ start for which, whatever is appended to `text`, no finding crosses or moves over p.

        Scanning `text[:p]` and then going on from p finds what scanning the whole finds. `seen`: when it was asked
        with this text up to there, the answer was `start`.
        """
        ...


def readable(text: str) -> str:
    """`text` without the two reserved characters (each becomes another control character; offsets stay)."""
    if WALL in text or NAME in text:
        return text.translate(_RESERVED)
    return text


def merge(matches: Iterable[Match]) -> list[Match]:
    """Order findings and resolve overlaps: the more confident stays and grows over the part of the other."""
    ordered = sorted(matches, key=lambda match: (match.start, -match.end))
    merged: list[Match] = []
    for match in ordered:
        if merged and match.start < merged[-1].end:
            last = merged[-1]
            winner = match if match.confidence > last.confidence else last
            merged[-1] = Match(winner.type, last.start, max(last.end, match.end), winner.confidence)
        else:
            merged.append(match)
    return merged


def locate(fields: Sequence[str], matches: Iterable[Match]) -> Iterator[tuple[int, Match]]:
    """From findings in `WALL.join(fields)` to (index of the field, finding with offsets into that field)."""
    index, base, end = 0, 0, len(fields[0])
    for match in matches:
        while match.start >= end:
            index, base = index + 1, end + 1
            end = base + len(fields[index])
        yield index, Match(match.type, match.start - base, match.end - base, match.confidence)
