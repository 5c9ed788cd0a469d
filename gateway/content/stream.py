"""The machine for streams of events: text grows in channels, and an event leaves when all its text is certain.

Events keep their number, shape and order within a text; an event that waits for one text is overtaken only by
events of other texts. What is redacted stands in the event in which it began; the later ones lose their part.
"""

from __future__ import annotations

import re
from collections import deque

import orjson

from gateway.content import logprobs, sse
from gateway.content.channel import Channel
from gateway.content.dialects import GROWING, Dialect, Key, Piece, Reading, is_json_text
from gateway.content.errors import ContentError
from gateway.content.findings import Findings
from gateway.content.guard import Guard
from gateway.content.json_text import Json, dump
from gateway.content.redact import Redactor
from gateway.content.scanner import Match, Scanner
from gateway.content.walk import Finding, Texts, pointer, replace

CHANNELS = 512
"""Most texts of one stream."""

HELD = 8 << 20
"""Most bytes of events that wait."""

_CLEAN = 256
_LABEL = re.compile(r"[a-z][a-z_-]{0,31}")
_ANSWER_TEXT = frozenset({"content", "text", "data", "delta"})


class _Held:
    """An event that waits. `needs`: (text, offset up to which it must be ready)."""

    __slots__ = ("event", "findings", "needs", "number", "pieces", "queues", "size", "tokens", "value")

    def __init__(self, event: sse.Event, value: Json) -> None:
        self.event = event
        self.value = value
        self.pieces: list[tuple[Channel, int, Piece]] = []
        self.findings: list[Finding] = []
        self.tokens: list[logprobs.Tokens] = []
        self.needs: list[tuple[Channel, int]] = []
        self.queues: list[deque[_Held]] = []
        self.number = 0
        self.size = 0


class EventMachine:
    """Takes events, gives bytes. `step` may only be called again when the findings that it added are decided on."""

    def __init__(
        self,
        dialect: Dialect,
        scanner: Scanner,
        guard: Guard | None,
        findings: Findings,
        redactor: Redactor,
        *,
        lines: bool = False,
        keep_texts: bool = False,
    ) -> None:
        self.keep_texts = keep_texts
        self.dialect = dialect
        self.model: str | None = None
        self.text_length = 0
        self.seen_terminal = False
        self.closing = False
        self.texts: dict[Key, list[str]] = {}
        self._scanner = scanner
        self._guard = guard
        self._findings = findings
        self._redactor = redactor
        self._lines = lines
        self._channels: dict[Key, Channel] = {}
        self._barrier: deque[_Held] = deque()
        self._queues: dict[Key, deque[_Held]] = {(): self._barrier}
        self._labels: dict[Key, str] = {}
        self._clean: set[bytes] = set()
        self._held = 0
        self._number = 0
        self._waiting: list[deque[_Held]] = []

    def step(self, event: sse.Event) -> None:
        """Take one event: inspect it, and all text that it makes certain."""
        if event.data is None:
            self._waiting += self._hold(event, None).queues
            return
        value = self._parse(event)
        if isinstance(value, dict):
            reading = self._reading(event, value)
        elif isinstance(value, list):
            reading = Reading([], "all")
        else:
            piece = Piece(("data",), [event.data], 0, event.data)
            terminal = event.data == self.dialect.terminal_data and bool(event.data)
            reading = Reading([] if terminal else [piece], "all" if terminal else "own", terminal=terminal)
        held = self._hold(event, value)
        self.closing = self.closing or reading.closing
        touched = self._push(held, reading)
        self._inspect(held)
        if reading.terminal:
            self.seen_terminal = self.closing = True
            touched = list(self._channels.items())
        self._settle(touched, reading)
        self._queue(held, reading)

    def finish(self) -> None:
        """No event follows: all text is certain."""
        for channel in self._channels.values():
            if not channel.ended:
                self._report(channel, channel.advance(final=True))

    def _hold(self, event: sse.Event, value: Json) -> _Held:
        held = _Held(event, value)
        held.number = self._number = self._number + 1
        held.queues = [deque([held])]
        return held

    def _parse(self, event: sse.Event) -> Json:
        assert event.data is not None
        if event.data == self.dialect.terminal_data:
            return None
        try:
            value: Json = orjson.loads(event.data)
        except orjson.JSONDecodeError as error:
            if event.data.lstrip()[:1] in ("{", "["):
                raise ContentError("malformed", "an event's data is not JSON") from error
            return None
        return value if isinstance(value, dict | list) else None

    def _reading(self, event: sse.Event, value: dict[str, Json]) -> Reading:
        reading = self.dialect.read(event.name, value)
        if self.model is None:
            self._find_model(value)
        padding = value.get("obfuscation")
        if isinstance(padding, str):
            value["obfuscation"] = "0" * len(padding)
        return reading

    def _find_model(self, value: dict[str, Json]) -> None:
        for holder in (value, value.get("message"), value.get("response")):
            model = holder.get("model") if isinstance(holder, dict) else None
            if isinstance(model, str):
                self.model = model[:128]
                return

    def _push(self, held: _Held, reading: Reading) -> list[tuple[Key, Channel]]:
        touched: dict[Key, Channel] = {}
        for piece in reading.pieces:
            if piece.key[-1] not in GROWING and self._is_label(piece):
                continue
            channel = self._channels.get(piece.key) or self._open(piece.key)
            if channel.ended:
                raise ContentError("malformed", "text follows after its end was announced")
            start = channel.push(piece.text)
            held.pieces.append((channel, start, piece))
            held.needs.append((channel, channel.total))
            touched[piece.key] = channel
            if isinstance(piece.name, dict):
                piece.name["token"] = ""
            else:
                piece.container[piece.name] = ""  # type: ignore[index]
                self.text_length += len(piece.text)
            held.size += len(piece.text)
        return list(touched.items())

    def _is_label(self, piece: Piece) -> bool:
        """Whether a field that no dialect knows says the same word in each event: then it is no text that grows.

        When it says something else, the word counts as the beginning of its text.
        """
        if piece.key in self._channels or isinstance(piece.name, dict):
            return False
        label = self._labels.setdefault(piece.key, piece.text)
        if label == piece.text and _LABEL.fullmatch(label):
            return True
        if label is not piece.text:
            self._open(piece.key).push(label)
        return False

    def _open(self, key: Key) -> Channel:
        if len(self._channels) >= CHANNELS or len(self._labels) >= CHANNELS:
            raise ContentError("too_large", f"the stream has more than {CHANNELS} texts")
        guard = None if "logprobs" in key else self._guard
        place = "".join(f"/{str(step)[:64]}" for step in key)
        channel = self._channels[key] = Channel(place, self._scanner, guard, is_json=is_json_text(key))
        return channel

    def _inspect(self, held: _Held) -> None:
        """What stands in the event besides its pieces; the same rest is looked at only once."""
        value: Json = held.value
        head = held.event.name if held.event.id is None else f"{held.event.name} {held.event.id}"
        rest = dump([head, value])
        if rest in self._clean:
            return
        held.size += len(rest)
        texts = Texts(value)
        held.findings = texts.scan(self._scanner)
        if self._guard is not None:
            held.findings += texts.blocked(self._guard)
        held.tokens = logprobs.find(value, self._scanner) if b'"logprobs"' in rest else []
        unnamed = Texts(head).scan(self._scanner)
        for finding in held.findings + unnamed:
            self._findings.add(finding.match.type, finding.match.confidence, pointer(finding.path)[:256])
        for match in logprobs.matches_of(held.tokens):
            self._findings.add(match.type, match.confidence, "/logprobs")
        for path in texts.unreadable:
            self._findings.add("unreadable", 100, pointer(path)[:256])
        if unnamed:
            held.event.name, held.event.id = "", None
        if not (held.findings or held.tokens or texts.unreadable or unnamed) and len(self._clean) < _CLEAN:
            self._clean.add(rest)

    def _settle(self, touched: list[tuple[Key, Channel]], reading: Reading) -> None:
        ending = [
            (key, channel)
            for key, channel in (self._channels.items() if reading.ends or reading.terminal else ())
            if not channel.ended and (reading.terminal or any(key[: len(end)] == end for end in reading.ends))
        ]
        for _, channel in ending:
            self._report(channel, channel.advance(final=True))
        for _, channel in touched:
            if not channel.ended:
                self._report(channel, channel.advance())

    def _report(self, channel: Channel, matches: list[Match]) -> None:
        for match in matches:
            self._findings.add(match.type, match.confidence, channel.pointer)

    def _queue(self, held: _Held, reading: Reading) -> None:
        """Put the event behind those that it must not overtake."""
        keys = {self._queue_key(piece.key) for piece in reading.pieces}
        if reading.waits == "group":
            keys |= {key for key in self._queues if key[: len(reading.group)] == reading.group}
            held.needs += self._unready(reading.group)
        elif reading.waits == "all":
            keys |= self._queues.keys()
            held.needs += self._unready(())
        if self._barrier and reading.waits != "none":
            # An event that waits for everything has not left yet: nothing may overtake it.
            keys.add(())
        for key in keys:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = deque()
            queue.append(held)
        if keys:
            held.queues = [self._queues[key] for key in keys]
        self._held += held.size
        if self._held > HELD:
            raise ContentError("too_large", f"more than {HELD} bytes of events wait for the end of a text")
        self._waiting += held.queues

    def _unready(self, group: Key) -> list[tuple[Channel, int]]:
        return [
            (channel, channel.total)
            for key, channel in self._channels.items()
            if channel.ready < channel.total and key[: len(group)] == group
        ]

    @staticmethod
    def _queue_key(key: Key) -> Key:
        """Events of one choice's field, or of one block or tool call, stay in order."""
        return key[:5] if key[0] == "choices" else key[:2]

    def take(self) -> bytes:
        """The events that may leave now."""
        out: list[tuple[int, bytes]] = []
        for queue in self._queues.values():
            if queue and queue[0].needs:
                self._waiting.append(queue)
        while self._waiting:
            queue = self._waiting.pop()
            while queue and self._may_leave(queue[0]):
                held = queue[0]
                for other in held.queues:
                    other.popleft()
                    if other is not queue and other:
                        self._waiting.append(other)
                out.append((held.number, self._render(held)))
        if len(out) > 1:
            out.sort()
        return b"".join([data for _, data in out])

    @staticmethod
    def _may_leave(held: _Held) -> bool:
        return all(queue[0] is held for queue in held.queues) and all(
            channel.ready >= offset for channel, offset in held.needs
        )

    def _render(self, held: _Held) -> bytes:
        event = held.event
        if event.data is None:
            return b"" if self._lines else sse.write_comment(event.name)
        self._held -= held.size
        redactor = self._redactor
        dropped: list[tuple[list[Json], logprobs.Entry]] = []
        for channel, start, piece in held.pieces:
            if isinstance(piece.name, dict):
                if channel.touched(start, start + len(piece.text), redactor):
                    dropped.append((piece.container, piece.name))  # type: ignore[arg-type]
                piece.name["token"] = channel.piece(start, piece.text, redactor)
                continue
            text = channel.piece(start, piece.text, redactor)
            piece.container[piece.name] = text  # type: ignore[index]
            if self.keep_texts and piece.key[-1] in _ANSWER_TEXT:
                self.texts.setdefault(piece.key, []).append(text)
        for entries, entry in dropped:
            entries[:] = [item for item in entries if item is not entry]
        for tokens in held.tokens:
            tokens.remove(set(redactor.redact))
        value = held.value
        if held.findings:
            value = replace(value, held.findings, redactor)
        if value is None:
            data = str(held.pieces[0][2].container[0]) if held.pieces else event.data  # type: ignore[index]
        else:
            data = dump(value).decode()
        return data.encode() + b"\n" if self._lines else sse.write(event.name, data, event.id)
