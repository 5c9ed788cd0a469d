"""What a dialect makes of one event of a stream: pieces of texts, and what the event means for the texts before it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from gateway.content import logprobs
from gateway.content.json_text import Json
from gateway.content.names import ARGUMENTS, MEDIA
from gateway.content.walk import is_encoded

Key = tuple[str | int, ...]
"""Names a text within a stream, such as ("choices", 0, "content")."""

Waits = Literal["own", "group", "all", "none"]
"""own: for earlier pieces of its texts; group: for all texts of its choice or block; all: for everything."""

GROWING = frozenset(
    {"content", "text", "reasoning", "reasoning_content", "refusal", "thinking", "transcript", "delta", "data"}
    | {"summary", "input", "code", "command", "stdout", "stderr"}
    | ARGUMENTS
)
"""Fields that are known to come piece by piece."""

_FIXED = frozenset({"role", "id", "type", "name", "index", "status", "finish_reason", "call_id", "object", "model"})
COMES_WHOLE = frozenset({"annotations", "citations", "images", "image_url", "url_citation", "citation", "metadata"})
"""Fields whose strings never come piece by piece."""

BEGUN = "begun"
"""The copy that stands where a text begins: a text that is there at once, and to which nothing may be added."""


class Piece(NamedTuple):
    """A string that belongs to the text `key`: `container[name]`.

    Where `container` is a list of log probabilities, `name` is the entry (by identity) whose token the text is.
    `copy`: the whole text is said at once, perhaps not for the first time; in which of the ways of saying it again.
    """

    key: Key
    container: dict[str, Json] | list[Json]
    name: str | int | logprobs.Entry
    text: str
    copy: str = ""


class Reading(NamedTuple):
    """What a dialect makes of one event.

    `ends`: beginnings of the keys of texts that end here. `terminal`: the stream ends with this event. `closing`:
    there is no more of the answer to come, even if no terminal event follows. `unreadable`: what it carries is no text.
    """

    pieces: list[Piece]
    waits: Waits
    group: Key = ()
    ends: tuple[Key, ...] = ()
    terminal: bool = False
    closing: bool = False
    unreadable: bool = False


def grow(pieces: list[Piece], key: Key, container: dict[str, Json] | list[Json]) -> None:
    """Every string below `container` is a piece, but for names and ids, and things that come whole."""
    items = container.items() if isinstance(container, dict) else enumerate(container)
    for name, child in items:
        if isinstance(child, str):
            if child and name not in _FIXED and not (name in MEDIA and is_encoded(str(name), child)):
                pieces.append(Piece((*key, name), container, name, child))
        elif isinstance(child, dict):
            if name not in COMES_WHOLE:
                number = child.get("index", name)
                grow(pieces, (*key, number if isinstance(number, int | str) else name), child)
        elif isinstance(child, list) and name not in COMES_WHOLE:
            grow(pieces, (*key, name), child)


def tokens(pieces: list[Piece], group: Key, container: dict[str, Json]) -> None:
    """Tokens of log probabilities are a text of their own, which repeats the answer."""
    value = container.get("logprobs")
    if not value:
        return
    for name, entries in logprobs.lists_of(value):
        pieces += [
            Piece((*group, "logprobs", name), entries, entry, logprobs.token_of(entry))
            for entry in entries
            if isinstance(entry, dict)
        ]


def is_json_text(key: Key) -> bool:
    """Whether the text is JSON itself."""
    return key[-1] in ARGUMENTS
