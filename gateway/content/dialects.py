"""Where in the events of a stream the text is, and what an event means for the texts before it.

A dialect looks at one event and says: which strings are pieces of growing texts (and which text each belongs to),
after what the event must wait, which texts end with it, and whether the stream ends with it. All other strings of
the event are inspected as they stand.
"""

from __future__ import annotations

from typing import Protocol

from gateway.content.json_text import Json, dump
from gateway.content.pieces import COMES_WHOLE, Key, Piece, Reading, grow, tokens
from gateway.content.responses import Responses, whole_response
from gateway.content.vectors import is_embeddings

_ID_FIELDS = ("item_id", "output_index", "content_index", "summary_index", "index")


class Dialect(Protocol):
    """Reads events of one protocol. `terminal_data`: data that ends the stream without being JSON."""

    terminal_data: bytes

    @property
    def sequence(self) -> int | None:
        """The highest number of an event seen so far, in a protocol that numbers them; -1: none had a number."""
        ...

    def read(self, name: str, value: dict[str, Json]) -> Reading:
        """Read one event whose data is a JSON object."""
        ...

    def count(self, number: int) -> None:
        """An event of this number was taken that is like one that was read."""
        ...

    def whole(self, value: Json) -> list[tuple[bool, str]]:
        """The texts of a whole answer: (whether it is the answer itself, the text)."""
        ...

    @property
    def open_ended(self) -> bool:
        """Whether the stream seen so far belongs to a protocol without a terminal event."""
        ...

    def complete(self, seen_terminal: bool) -> bool:
        """Whether a stream that ends here is whole."""
        ...


class OpenAI:
    """Chat completions, responses, embeddings, and the compatible servers with their additions."""

    terminal_data = b"[DONE]"

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._seen = False
        self._responses = Responses()
        self._other = Generic()

    def read(self, name: str, value: dict[str, Json]) -> Reading:
        """See `Dialect.read`."""
        reading = self._responses.read(name, value)
        choices = value.get("choices")
        if reading is not None or not isinstance(choices, list):
            return reading or self._other.read(name, value)
        self._seen = True
        pieces: list[Piece] = []
        finished = False
        group: Key = ()
        for position, choice in enumerate(choices):
            if not isinstance(choice, dict):
                continue
            number = choice.get("index", position)
            index = number if isinstance(number, int) else position
            group = ("choices", index)
            self._open.add(index)
            if choice.get("finish_reason") is not None:
                finished = True
                self._open.discard(index)
            self._choice(pieces, group, choice)
        if not choices:
            return Reading(pieces, "all")
        if finished:
            return Reading(pieces, "group" if len(choices) == 1 else "all", group, closing=not self._open)
        return Reading(pieces, "own", group)

    def count(self, number: int) -> None:
        """See `Dialect.count`."""
        self._responses.count(number)

    @staticmethod
    def _choice(pieces: list[Piece], group: Key, choice: dict[str, Json]) -> None:
        delta = choice.get("delta")
        if isinstance(delta, dict):
            grow(pieces, (*group, "delta"), delta)
        text = choice.get("text")
        if isinstance(text, str) and text:
            pieces.append(Piece((*group, "text"), choice, "text", text))
        tokens(pieces, group, choice)

    def whole(self, value: Json) -> list[tuple[bool, str]]:
        """See `Dialect.whole`."""
        choices = value.get("choices") if isinstance(value, dict) else None
        if not isinstance(choices, list):
            if is_embeddings(value):
                return []
            response = whole_response(value)
            return self._other.whole(value) if response is None else response
        pieces: list[Piece] = []
        for choice in choices:
            if isinstance(choice, dict):
                message = choice.get("message")
                grow(pieces, ("message",), message if isinstance(message, dict) else {"text": choice.get("text")})
        return [(piece.key[1:] in (("content",), ("text",)), piece.text) for piece in pieces]

    @property
    def sequence(self) -> int | None:
        """See `Dialect.sequence`."""
        return self._responses.sequence if self._responses.seen else None

    @property
    def open_ended(self) -> bool:
        """See `Dialect.open_ended`."""
        return not self._seen and not self._responses.seen and self._other.open_ended

    def complete(self, seen_terminal: bool) -> bool:
        """See `Dialect.complete`: some servers leave out `[DONE]`, but not the reason a choice ended for."""
        if seen_terminal or self._responses.seen:
            return seen_terminal
        return not self._open if self._seen else self._other.complete(False)


class Anthropic:
    """Messages."""

    terminal_data = b""
    sequence = None

    def read(self, name: str, value: dict[str, Json]) -> Reading:
        """See `Dialect.read`."""
        kind = value.get("type")
        index = value.get("index")
        group: Key = ("content", index if isinstance(index, int) else 0)
        pieces: list[Piece] = []
        if kind == "content_block_delta":
            delta = value.get("delta")
            if isinstance(delta, dict) and delta.get("type") not in ("signature_delta", "citations_delta"):
                grow(pieces, group, delta)
            return Reading(pieces, "own" if pieces else "group", group)
        if kind == "ping":
            return Reading(pieces, "none", group)
        if kind == "content_block_start":
            block = value.get("content_block")
            if isinstance(block, dict):
                for field in ("text", "thinking"):
                    text = block.get(field)
                    if isinstance(text, str) and text:
                        pieces.append(Piece((*group, field), block, field, text))
        elif kind == "content_block_stop":
            return Reading(pieces, "group", group, (group,))
        return Reading(pieces, "all", group, terminal=kind in ("message_stop", "error"))

    def count(self, number: int) -> None:
        """See `Dialect.count`: the protocol has no numbers."""

    def whole(self, value: Json) -> list[tuple[bool, str]]:
        """See `Dialect.whole`."""
        blocks = value.get("content") if isinstance(value, dict) else None
        pieces: list[Piece] = []
        if isinstance(blocks, list):
            grow(pieces, (), blocks)
        return [(piece.key[-1] == "text", piece.text) for piece in pieces]

    @property
    def open_ended(self) -> bool:
        """See `Dialect.open_ended`."""
        return False

    def complete(self, seen_terminal: bool) -> bool:
        """See `Dialect.complete`."""
        return seen_terminal


class Generic:
    """Any stream of JSON objects: what stands under `delta`, or in a field that is usually text, is taken to grow."""

    terminal_data = b"[DONE]"
    sequence = None
    _TEXT = frozenset({"text", "content", "delta", "completion", "response", "output", "message", "generated_text"})
    _LAST = frozenset({"response.completed", "response.failed", "response.incomplete", "message-end", "message_stop"})
    _ENDINGS = (".done", ".completed", "_stop", "-end", "_end", ".stop")

    def __init__(self) -> None:
        self._expected = False

    def read(self, name: str, value: dict[str, Json]) -> Reading:
        """See `Dialect.read`."""
        kind = value.get("type")
        kind = kind if isinstance(kind, str) else ""
        ids = tuple(identifier for field in _ID_FIELDS if isinstance(identifier := value.get(field), str | int))
        group: Key = ("events", kind or name, *ids)
        self._expected = self._expected or kind.startswith("response.")
        pieces: list[Piece] = []
        ending = kind.endswith(self._ENDINGS)
        if not ending:
            self._find(pieces, group, value, "delta" in value)
            tokens(pieces, group, value)
        if pieces:
            return Reading(pieces, "own", group)
        return Reading(pieces, "all", group, (("events",),) if ending else (), kind in self._LAST)

    def count(self, number: int) -> None:
        """See `Dialect.count`: the protocol has no numbers."""

    def _find(self, pieces: list[Piece], key: Key, value: dict[str, Json], has_delta: bool) -> None:
        for name, child in value.items():
            if isinstance(child, str):
                if child and name == "delta":
                    # The arguments of a tool call, for one, are announced by the event's type.
                    kind = "arguments" if "arguments" in str(key[1]) else name
                    pieces.append(Piece((*key, kind), value, name, child))
                elif child and not has_delta and name in self._TEXT:
                    pieces.append(Piece((*key, name), value, name, child))
            elif name == "delta" and isinstance(child, dict):
                grow(pieces, (*key, name), child)
            elif not has_delta and name not in COMES_WHOLE:
                if isinstance(child, dict):
                    self._find(pieces, (*key, name), child, False)
                elif isinstance(child, list):
                    for index, item in enumerate(child):
                        if isinstance(item, dict):
                            self._find(pieces, (*key, name, index), item, False)

    def whole(self, value: Json) -> list[tuple[bool, str]]:
        """See `Dialect.whole`: the body itself is the answer."""
        return [(True, dump(value).decode())]

    @property
    def open_ended(self) -> bool:
        """See `Dialect.open_ended`."""
        return not self._expected

    def complete(self, seen_terminal: bool) -> bool:
        """See `Dialect.complete`: a protocol without a terminal event is whole when the connection says so."""
        return seen_terminal or not self._expected


def dialect_of(name: str) -> Dialect:
    """The reader for a route's dialect."""
    if name == "openai":
        return OpenAI()
    if name == "anthropic":
        return Anthropic()
    return Generic()
