"""The machine for streams of events: text grows in channels, and an event leaves when all its text is certain.

Events keep their number, shape and order within a text; an event that waits for one text is overtaken only by
events of other texts. What is redacted stands in the event in which it began; the later ones lose their part.
"""

from __future__ import annotations

import re
from collections import deque
from itertools import islice

import orjson

from gateway.content import logprobs, sse
from gateway.content.channel import Channel
from gateway.content.dialects import Dialect
from gateway.content.errors import ContentError
from gateway.content.findings import Findings
from gateway.content.guard import Guard
from gateway.content.json_text import Json, dump
from gateway.content.names import KNOWN
from gateway.content.order import Held, Order, Queue
from gateway.content.pieces import BEGUN, GROWING, Key, Piece, Reading, is_json_text
from gateway.content.redact import Redactor, shown_model
from gateway.content.render import render
from gateway.content.scanner import Match, Scanner
from gateway.content.template import NUMBER, PADDING, Template, Templates
from gateway.content.walk import MASKED, SMALLEST_NUMBER, Texts, names_found, shown

CHANNELS = 512
"""Most texts of one stream."""

_CLEAN = 256
_CLEAN_SIZE = 4_096
_RUN = 4_096
"""Most characters of text that are looked at together."""

_LABEL = re.compile(r"[a-z][a-z_-]{0,31}")


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
        self.dialect = dialect
        self.model: str | None = None
        self.seen_terminal = False
        self.closing = False
        self.texts: dict[Key, list[str]] = {}
        self._scanner = scanner
        self._guard = guard
        self._findings = findings
        self._redactor = redactor
        self._lines = lines
        self._kept = self.texts if keep_texts else None
        self._lengths: dict[str, int] = {}
        self._begun: set[Key] = set()
        self._channels: dict[Key, tuple[Channel, Queue]] = {}
        self._labels: dict[Key, str] = {}
        self._order = Order()
        self._clean: set[bytes] = set()
        self._templates = Templates()
        self._singly = 0
        self._number = 0

    @property
    def text_length(self) -> int:
        """Characters of text so far. Texts that are said again do not count again."""
        return max(self._lengths.values(), default=0)

    def step(self, events: deque[sse.Event]) -> None:
        """Take the first event, or as many as differ in their text only: inspect them, and what they make certain.

        Several are taken only when nothing is found in them: what is found is told with the event that shows it.
        """
        found = self._templates.find(events[0])
        if found is None:
            self._take_one(events.popleft())
        else:
            self._take_alike(events, *found)

    def _take_alike(self, events: deque[sse.Event], template: Template, holes: list[Json]) -> None:
        channel, queue = self._channels[template.key]
        run, texts = [holes], [str(holes[template.text])]
        if self._singly:
            self._singly -= 1
        elif self._order.only(queue):
            size = len(texts[0])
            for event in islice(events, 1, None):
                more = template.read(event)
                if more is None or size > _RUN:
                    break
                run.append(more)
                texts.append(str(more[template.text]))
                size += len(texts[-1])
        start = channel.total
        if not channel.pass_clean("".join(texts)):
            self._singly = max(self._singly, len(run) - 1)
            del run[1:]
            channel.push(texts[0])
            self._report(channel, channel.advance())
        for filled, text in zip(run, texts, strict=False):
            self._number += 1
            held = Held(events.popleft(), filled, self._number, template)
            held.pieces.append((channel, start, Piece(template.key, filled, template.text, text)))
            start += len(text)
            held.needs.append((channel, start))
            held.queues.append(queue)
            self._lengths[""] += len(text)
            number = template.number(filled)
            if number is not None:
                self.dialect.count(number)
            self._order.add(held, "own", ())
        self._order.moved(queue)

    def _take_one(self, event: sse.Event) -> None:
        self._number += 1
        if event.data is None:
            self._order.add(Held(event, None, self._number), "none", ())
            return
        value = self._parse(event.data)
        held = Held(event, value, self._number)
        reading = self._read(event, value)
        if reading.waits != "own":
            # What a reader makes of an event may be another thing from here on.
            self._templates.forget()
        touched = self._push(held, reading)
        rest = self._inspect(held)
        if rest is not None and reading.waits == "own" and isinstance(value, dict) and len(held.pieces) == 1:
            self._templates.keep(event, value, held.pieces[0][2], rest)
        if reading.unreadable:
            self._findings.add("unreadable", 100, "/delta")
        if reading.terminal or reading.closing:
            self.closing = True
        if reading.terminal:
            self.seen_terminal = True
            self.finish()
        else:
            self._settle(touched, reading)
        if reading.waits in ("group", "all"):
            held.needs += self._unready(() if reading.waits == "all" else reading.group)
        self._order.add(held, reading.waits, reading.group)

    def finish(self) -> None:
        """No text follows: all of it is certain."""
        for channel, queue in self._channels.values():
            self._advance(channel, queue, final=True)

    def _parse(self, data: bytes) -> Json:
        if data == self.dialect.terminal_data:
            return None
        try:
            value: Json = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            if data.lstrip()[:1] in (b"{", b"["):
                raise ContentError("malformed", "an event's data is not JSON") from error
            return None
        return value if isinstance(value, dict | list) else None

    def _read(self, event: sse.Event, value: Json) -> Reading:
        if isinstance(value, list):
            return Reading([], "all")
        if not isinstance(value, dict):
            assert event.data is not None
            if event.data == self.dialect.terminal_data:
                return Reading([], "all", terminal=True)
            text = sse.text_of(event.data)
            return Reading([Piece(("data",), [text], 0, text)], "own")
        if self.model is None:
            self._find_model(value)
        padding = value.get(PADDING)
        if isinstance(padding, str):
            value[PADDING] = "0" * len(padding)
        return self.dialect.read(event.name, value)

    def _find_model(self, value: dict[str, Json]) -> None:
        for holder in (value, value.get("message"), value.get("response")):
            model = holder.get("model") if isinstance(holder, dict) else None
            if isinstance(model, str):
                self.model = shown_model(model, self._scanner)
                return

    def _push(self, held: Held, reading: Reading) -> list[tuple[Channel, Queue]]:
        """Append the event's pieces to their texts, and take them out of the event."""
        touched: list[tuple[Channel, Queue]] = []
        for piece in reading.pieces:
            key, container, name, text, copy = piece
            if copy:
                self._push_copy(held, piece)
                continue
            if key[-1] not in GROWING and self._is_label(piece):
                continue
            entry = self._channels.get(key) or self._open(key)
            channel, queue = entry
            if channel.ended or key in self._begun:
                raise ContentError("malformed", "text follows after its end was announced")
            held.pieces.append((channel, channel.push(text), piece))
            held.needs.append((channel, channel.total))
            if isinstance(name, dict):
                name["token"] = ""
            else:
                container[name] = ""  # type: ignore[index]
                self._lengths[""] = self._lengths.get("", 0) + len(text)
            if entry not in touched:
                touched.append(entry)
                if not any(queue is other for other in held.queues):
                    held.queues.append(queue)
        return touched

    def _push_copy(self, held: Held, piece: Piece) -> None:
        """A text that is there at once goes through a channel of its own, so that it becomes what its pieces became."""
        key, container, name, text, copy = piece
        if copy == BEGUN:
            # Whoever puts the pieces together may count this one in or leave it out: there must be no others.
            if key in self._begun or key in self._channels:
                raise ContentError("malformed", "a text begins a second time")
            self._bound()
            self._begun.add(key)
        channel = self._channel(key)
        held.pieces.append((channel, channel.push(text), piece))
        container[name] = ""  # type: ignore[index]
        # A text that is begun is not said in pieces as well: it counts as one of them.
        said = "" if copy == BEGUN else copy
        self._lengths[said] = self._lengths.get(said, 0) + len(text)
        self._report(channel, channel.advance(final=True))

    def _is_label(self, piece: Piece) -> bool:
        """Whether a field that no dialect knows says the same word in each event: then it is no text that grows.

        When it says something else, the word counts as the beginning of its text.
        """
        if piece.key in self._channels or isinstance(piece.name, dict):
            return False
        label = self._labels.get(piece.key)
        if label is None:
            if not _LABEL.fullmatch(piece.text):
                return False
            self._bound()
            self._labels[piece.key] = piece.text
            return True
        if label == piece.text:
            return True
        self._open(piece.key)[0].push(label)
        return False

    def _bound(self) -> None:
        if len(self._channels) + len(self._labels) + len(self._begun) >= CHANNELS:
            raise ContentError("too_large", f"the stream has more than {CHANNELS} texts")

    def _open(self, key: Key) -> tuple[Channel, Queue]:
        self._bound()
        self._templates.forget()
        entry = self._channels[key] = (self._channel(key), self._order.queue(key))
        return entry

    def _channel(self, key: Key) -> Channel:
        guard = None if "logprobs" in key else self._guard
        place = "".join(f"/{self._step(step)[:64]}" for step in key)
        # Log probabilities repeat the tokens piece by piece; there they stay.
        restorer = None if "logprobs" in key else self._redactor.restorer
        return Channel(place, self._scanner, guard, is_json=is_json_text(key), restorer=restorer)

    def _step(self, step: str | int) -> str:
        """A step of a text's place; the name of a field that is a finding itself is masked."""
        named = isinstance(step, str) and step not in KNOWN and Texts({step: [""]}).scan(self._scanner)
        return MASKED if named else str(step)

    def _inspect(self, held: Held) -> bytes | None:
        """What stands in the event besides its pieces; the same rest is looked at only once, and returned then."""
        event, value = held.event, held.value
        with_name: Json = value if not event.name and event.id is None else [event.name, event.id, value]
        number = value.get(NUMBER) if isinstance(value, dict) else None
        if isinstance(value, dict) and type(number) is int and 0 <= number < SMALLEST_NUMBER:
            # Numbers of this size are not looked at: events that differ in nothing else have the same rest.
            value[NUMBER] = 0
            rest = dump(with_name)
            value[NUMBER] = number
        else:
            rest = dump(with_name)
        if rest in self._clean:
            return rest
        texts = Texts(value)
        if logprobs.thin(texts.logprobs):
            texts = Texts(value)
        held.findings = texts.scan(self._scanner)
        if self._guard is not None:
            held.findings += texts.blocked(self._guard, self._redactor.restorer)
        restorer = self._redactor.restorer
        restored = texts.tokens(restorer) if restorer is not None else []
        held.tokens = [tokens for tokens in logprobs.find(texts.logprobs, self._scanner) if tokens.matches]
        unnamed = Texts([event.name, event.id]).scan(self._scanner)
        names = names_found(held.findings)
        for finding in held.findings + unnamed:
            self._findings.add(finding.match.type, finding.match.confidence, shown(finding.path, names))
        for match in logprobs.matches_of(held.tokens):
            self._findings.add(match.type, match.confidence, "/logprobs")
        for path in texts.unreadable:
            self._findings.add("unreadable", 100, shown(path, names))
        if unnamed:
            event.name, event.id = "", None
        held.findings += restored
        found = held.findings or held.tokens or texts.unreadable or unnamed
        if not found and len(rest) <= _CLEAN_SIZE and len(self._clean) < _CLEAN:
            self._clean.add(rest)
        return None

    def _settle(self, touched: list[tuple[Channel, Queue]], reading: Reading) -> None:
        for end in reading.ends:
            for key, (channel, queue) in self._channels.items():
                if key[: len(end)] == end:
                    self._advance(channel, queue, final=True)
        for channel, queue in touched:
            self._advance(channel, queue)

    def _advance(self, channel: Channel, queue: Queue, *, final: bool = False) -> None:
        if channel.ended:
            return
        ready = channel.ready
        self._report(channel, channel.advance(final=final))
        if channel.ready > ready:
            self._order.moved(queue)

    def _report(self, channel: Channel, matches: list[Match]) -> None:
        for match in matches:
            self._findings.add(match.type, match.confidence, channel.pointer)

    def _unready(self, group: Key) -> list[tuple[Channel, int]]:
        return [
            (channel, channel.total)
            for key, (channel, _) in self._channels.items()
            if channel.ready < channel.total and key[: len(group)] == group
        ]

    def take(self) -> bytes:
        """The events that may leave now."""
        leaving = self._order.leaving()
        if not leaving:
            return b""
        return b"".join([render(held, self._redactor, self._kept, lines=self._lines) for held in leaving])
