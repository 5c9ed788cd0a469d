"""Events that are like an earlier one but for their text: read and written without looking at all of them again.

Most events of a stream differ in one text, and in two fields that carry none: the number of the event and its
padding. Around these holes every byte is that of an event that was inspected and found clean, so what a reader makes
of the event is what was made of the earlier one, with this text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import orjson

from gateway.content.json_text import Json, dump
from gateway.content.names import MEDIA
from gateway.content.pieces import GROWING, Key, Piece
from gateway.content.sse import Event
from gateway.content.walk import SMALLEST_NUMBER

NUMBER: Final = "sequence_number"
PADDING: Final = "obfuscation"

_MOST = 64
_AT_HAND = 8

_MARKS: Final[dict[str, Json]] = {"": "\ue0f0text\ue0f0", PADDING: "\ue0f0padding\ue0f0", NUMBER: 9_071_992_354_718_023}


class Template:
    """One such event. What stands in its holes is a list, in the order of the bytes.

    `key` names the text, and `text` is the place of it in that list.
    """

    __slots__ = ("_between", "_first", "_kinds", "_last", "_name", "_number", "_padding", "_written", "key", "text")

    def __init__(self, event: Event, key: Key, names: list[str], read: list[bytes], written: list[bytes]) -> None:
        self.key = key
        self.text = names.index("")
        self._number = names.index(NUMBER) if NUMBER in names else None
        self._padding = names.index(PADDING) if PADDING in names else None
        self._name = event.name
        self._kinds = [int if name == NUMBER else str for name in names]
        self._first, *self._between, self._last = read
        self._written = written

    def read(self, event: Event) -> list[Json] | None:
        """What stands in the holes of an event, or None where it is another one."""
        data = event.data
        if data is None or not data.startswith(self._first) or not data.endswith(self._last):
            return None
        if event.name != self._name or event.id is not None:
            return None
        position = len(self._first)
        tokens: list[bytes] = []
        for literal in self._between:
            end = data.find(literal, position)
            if end < 0:
                return None
            tokens.append(data[position:end])
            position = end + len(literal)
        tokens.append(data[position : len(data) - len(self._last)])
        try:
            # Each by itself: two halves must not make a whole.
            holes: list[Json] = [orjson.loads(token) for token in tokens]
        except orjson.JSONDecodeError:
            return None
        for hole, kind in zip(holes, self._kinds, strict=True):
            if hole.__class__ is not kind or (kind is int and not 0 <= hole < SMALLEST_NUMBER):  # type: ignore[operator]
                return None
        if not holes[self.text]:
            return None
        if self._padding is not None:
            holes[self._padding] = "0" * len(holes[self._padding])  # type: ignore[arg-type]
        return holes

    def number(self, holes: list[Json]) -> int | None:
        """The number of the event, if it has one."""
        number = None if self._number is None else holes[self._number]
        return number if isinstance(number, int) else None

    def write(self, holes: list[Json]) -> bytes:
        """The data of the event with this in its holes."""
        parts = [self._written[0]]
        for hole, literal in zip(holes, self._written[1:], strict=True):
            parts += (dump(hole), literal)
        return b"".join(parts)


class Templates:
    """Those of one stream, and which of them are at hand."""

    def __init__(self) -> None:
        self._known: dict[tuple[Key, bytes], Template | None] = {}
        self._at_hand: list[Template] = []

    def find(self, event: Event) -> tuple[Template, list[Json]] | None:
        """The template that the event is of, and what stands in its holes."""
        for template in self._at_hand:
            holes = template.read(event)
            if holes is not None:
                return template, holes
        return None

    def keep(self, event: Event, value: dict[str, Json], piece: Piece, rest: bytes) -> None:
        """Have one at hand for events like this one, whose `rest` occurred before and is clean."""
        known = (piece.key, rest)
        if known not in self._known and len(self._known) < _MOST:
            self._known[known] = template_of(event, value, piece)
        template = self._known.get(known)
        if template is not None and template not in self._at_hand:
            self._at_hand.insert(0, template)
            del self._at_hand[_AT_HAND:]

    def forget(self) -> None:
        """Have none at hand: from here on, events like these may mean something else."""
        self._at_hand.clear()


def template_of(event: Event, value: dict[str, Json], piece: Piece) -> Template | None:
    """The template of a clean event whose one text `piece` is; None where it has none.

    `value` is the event's value as it would be sent, and is left as it was.
    """
    key, container, name, _, copy = piece
    data = event.data
    if (
        copy
        or data is None
        or event.id is not None
        or not isinstance(name, str)
        or name in MEDIA
        or key[-1] not in GROWING
    ):
        return None
    places: dict[str, tuple[dict[str, Json], str]] = {"": (container, name)}  # type: ignore[dict-item]
    places |= {field: (value, field) for field in (PADDING, NUMBER) if field in value}
    found = [(span, hole) for hole, (_, field) in places.items() if (span := _only_place(data, field)) is not None]
    if len(found) < len(places):
        return None
    found.sort()
    names = [hole for _, hole in found]
    read = _between(data, [span for span, _ in found])
    before = {hole: holder[field] for hole, (holder, field) in places.items()}
    for hole, (holder, field) in places.items():
        holder[field] = _MARKS[hole]
    marked = dump(value)
    for hole, (holder, field) in places.items():
        holder[field] = before[hole]
    marks = [dump(_MARKS[hole]) for hole in names]
    # Whatever was found in the bytes: only what a reader takes for these very fields may be a hole.
    if dump(orjson.loads(_fill(read, marks))) != marked or any(marked.count(mark) != 1 for mark in marks):
        return None
    written = _between(marked, [(start := marked.index(mark), start + len(mark)) for mark in marks])
    return Template(event, key, names, read, written) if _fill(written, marks) == marked else None


def _only_place(data: bytes, field: str) -> tuple[int, int] | None:
    """Where in a JSON text the value of this field is, if it occurs once."""
    spans = [match.span(1) for match in _field(field).finditer(data)]
    return spans[0] if len(spans) == 1 else None


@lru_cache(maxsize=64)
def _field(name: str) -> re.Pattern[bytes]:
    kind = rb"\d+" if name == NUMBER else rb'"[^"\\]*(?:\\.[^"\\]*)*"'
    return re.compile(rb'"%b"\s*:\s*(%b)' % (re.escape(name.encode()), kind))


def _between(data: bytes, spans: list[tuple[int, int]]) -> list[bytes]:
    """The parts of `data` before, between and after these spans."""
    starts, ends = [0, *(end for _, end in spans)], [*(start for start, _ in spans), len(data)]
    return [data[start:end] for start, end in zip(starts, ends, strict=True)]


def _fill(literals: list[bytes], tokens: list[bytes]) -> bytes:
    return literals[0] + b"".join(token + literal for token, literal in zip(tokens, literals[1:], strict=True))
