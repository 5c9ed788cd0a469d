"""OpenAI's responses: where the text is in the events of their stream, and in a response as a whole.

Follows https://platform.openai.com/docs/api-reference/responses-streaming. One text is said up to five times: in
deltas, in the `done` of the text, of its part and of its item, and in the last event. Each of them is inspected like
the text of a stream, so that all of them become the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.content.errors import ContentError
from gateway.content.json_text import Json
from gateway.content.pieces import BEGUN, Key, Piece, Reading, grow, tokens

_TERMINAL: Final = frozenset({"response.completed", "response.failed", "response.incomplete", "error"})
_LIFE: Final = _TERMINAL | {"response.created", "response.in_progress", "response.queued"}

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "response.output_text": ("content", "text"),
    "response.refusal": ("content", "refusal"),
    "response.reasoning_text": ("content", "reasoning"),
    "response.reasoning_summary_text": ("summary", "summary"),
    "response.function_call_arguments": ("", "arguments"),
    "response.mcp_call_arguments": ("", "arguments"),
    "response.custom_tool_call_input": ("", "input"),
    "response.code_interpreter_call_code": ("", "code"),
    "response.shell_call_command": ("command", "command"),
    "response.shell_call_output_content": ("output", "delta"),
    "response.audio.transcript": ("transcript", "transcript"),
}
"""What grows in events of this type: the list that it is in (empty: the item itself), and the name of the text."""

_PARTS: Final[Mapping[str, str]] = {
    "response.output_item": "",
    "response.content_part": "content",
    "response.reasoning_summary_part": "summary",
}
"""What is begun by `.added` and ended by `.done`: an item, or a part in this list of it."""

_AUDIO: Final = "response.audio.delta"
_TOLD: Final = ("arguments", "input", "code", "command", "text", "refusal", "transcript")
_OF_PART: Final = {"reasoning_text": "reasoning", "summary_text": "summary"}
_LARGEST: Final = 2**53

ITEMS: Final = 4_096
"""Most items of one stream that have an id."""


class Responses:
    """Reads the events; None for those of other protocols, and for those that have no rule here.

    `seen`: there was one. `sequence`: the highest number of one, -1 where none had a number.
    """

    def __init__(self) -> None:
        self.seen = False
        self.sequence = -1
        self._items: dict[str, str | int] = {}

    def read(self, name: str, value: dict[str, Json]) -> Reading | None:
        """See `Dialect.read`."""
        kind = _kind(name, value)
        if not kind:
            return None
        if isinstance(value.get("choices"), list):
            raise ContentError("malformed", "an event is of two protocols")
        self.seen = True
        number = value.get("sequence_number")
        if type(number) is int:
            self.count(number)
        if kind in _LIFE:
            return _life(kind, value)
        if kind == _AUDIO:
            return Reading([], "all", unreadable=True)
        stem, _, moment = kind.rpartition(".")
        if stem in _PARTS:
            return _part(stem, moment, value, *self._item(value))
        if "delta" in value or stem in _TEXTS:
            return _text(stem, moment, value, *self._item(value))
        if "item" in value or "part" in value:
            stem = "response.output_item" if "item" in value else "response.content_part"
            return _part(stem, moment, value, *self._item(value))
        return None

    def count(self, number: int) -> None:
        """An event has this number."""
        if self.sequence < number < _LARGEST:
            self.sequence = number

    def _item(self, value: Mapping[str, Json]) -> tuple[Key, bool]:
        """The item that an event belongs to, and whether it is known by its place.

        Some clients put texts together by the item's place, others by its id: one text must not seem to be two.
        """
        index, item = _whole_number(value, "output_index"), value.get("item")
        told = value.get("item_id") or (item.get("id") if isinstance(item, dict) else None)
        name = told if isinstance(told, str) else ""
        if not name:
            return ("output", "" if index is None else index), index is not None
        known = self._items.get(name)
        if index is not None and isinstance(known, str):
            raise ContentError("malformed", "an item that had no place gets one in the middle of the stream")
        if index is not None and known is not None and known != index:
            raise ContentError("malformed", "an item changes its place in the middle of the stream")
        step = index if index is not None else name if known is None else known
        if known is None and len(self._items) >= ITEMS:
            raise ContentError("too_large", f"the stream has more than {ITEMS} items")
        self._items[name] = step
        return ("output", step), isinstance(step, int)


def whole_response(value: Json) -> list[tuple[bool, str]] | None:
    """The texts of a whole response: (whether it is the answer itself, the text); None where it is something else."""
    if not isinstance(value, dict) or not isinstance(value.get("output"), list):
        return None
    pieces: list[Piece] = []
    _response(pieces, value)
    return [(piece.key[-1] == "text", piece.text) for piece in pieces]


def _kind(name: str, value: Mapping[str, Json]) -> str:
    """The type by which a client reads the event: what its data says, or else its name; ContentError if they differ."""
    told = value.get("type")
    if told is None and not name:
        return ""
    kinds = {
        kind for kind in (told, name) if isinstance(kind, str) and (kind.startswith("response.") or kind == "error")
    }
    if len(kinds) > 1:
        raise ContentError("malformed", "an event has one type by its name and another by its data")
    return kinds.pop() if kinds else ""


def _life(kind: str, value: Mapping[str, Json]) -> Reading:
    pieces: list[Piece] = []
    terminal = kind in _TERMINAL
    if terminal:
        _response(pieces, value.get("response"))
    return Reading(pieces, "all", terminal=terminal)


def _text(stem: str, moment: str, value: dict[str, Json], item: Key, placed: bool) -> Reading:
    """A piece of a text, or all of it."""
    list_name, field = _TEXTS.get(stem, (stem, "arguments" if "arguments" in stem else "delta"))
    at = (*item, list_name, _index(value, list_name)) if list_name else item
    pieces: list[Piece] = []
    delta = value.get("delta")
    if isinstance(delta, str):
        if delta:
            pieces.append(Piece((*at, field), value, "delta", delta))
    elif isinstance(delta, dict | list):
        grow(pieces, at, delta)
    if moment == "done":
        pieces += [
            Piece((*at, field), value, told, text, "text")
            for told in _TOLD
            if isinstance(text := value.get(told), str) and text
        ]
        return Reading(pieces, "group" if placed else "all", item, (at if list_name else (*item, field),))
    tokens(pieces, at, value)
    return Reading(pieces, "own" if pieces else "group", item)


def _part(stem: str, moment: str, value: dict[str, Json], item: Key, placed: bool) -> Reading:
    """An item or a part of one: begun, as a rule empty, or ended with all that it holds."""
    list_name = _PARTS[stem]
    at = (*item, list_name, _index(value, list_name)) if list_name else item
    copy = BEGUN if moment == "added" else stem
    pieces: list[Piece] = []
    _item_texts(pieces, item, value.get("item"), copy)
    _part_texts(pieces, at, value.get("part"), copy)
    if moment == "added":
        return Reading(pieces, "all", item)
    return Reading(pieces, "group" if placed else "all", item, (at,) if moment == "done" else ())


def _response(pieces: list[Piece], response: Json) -> None:
    output = response.get("output") if isinstance(response, dict) else None
    if isinstance(output, list):
        for index, item in enumerate(output):
            _item_texts(pieces, ("output", index), item, "response")


def _item_texts(pieces: list[Piece], at: Key, item: Json, copy: str) -> None:
    if not isinstance(item, dict):
        return
    for name in ("arguments", "input", "code"):
        text = item.get(name)
        if isinstance(text, str) and text:
            pieces.append(Piece((*at, name), item, name, text, copy))
    for name in ("content", "summary"):
        parts = item.get(name)
        if isinstance(parts, list):
            for index, part in enumerate(parts):
                _part_texts(pieces, (*at, name, index), part, copy)


def _part_texts(pieces: list[Piece], at: Key, part: Json, copy: str) -> None:
    if not isinstance(part, dict):
        return
    for name in ("text", "refusal", "transcript"):
        text = part.get(name)
        if isinstance(text, str) and text:
            kind = part.get("type")
            field = _OF_PART.get(kind, name) if isinstance(kind, str) else name
            pieces.append(Piece((*at, field), part, name, text, copy))


def _index(value: Mapping[str, Json], list_name: str) -> int:
    return _whole_number(value, "command_index" if list_name in ("command", "output") else f"{list_name}_index") or 0


def _whole_number(value: Mapping[str, Json], name: str) -> int | None:
    """A place; ContentError where two readers could take it for different ones."""
    number = value.get(name)
    if number is None or type(number) is int:
        return number
    raise ContentError("malformed", f"`{name}` of an event is not a whole number")
