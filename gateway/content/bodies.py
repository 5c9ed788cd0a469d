"""Bodies that come in pieces: events, bytes that cannot be read, and what is passed on without a look."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import orjson

from gateway.content import sse
from gateway.content.dialects import Dialect
from gateway.content.findings import Findings
from gateway.content.guard import Guard
from gateway.content.redact import Redactor
from gateway.content.scanner import Scanner
from gateway.content.stream import EventMachine


class Tools(NamedTuple):
    """What every kind of body works with. `limit`: most bytes held whole."""

    scanner: Scanner
    guard: Guard | None
    findings: Findings
    redactor: Redactor
    limit: int


class Events:
    """A stream of server-sent events, or of JSON lines."""

    def __init__(self, tools: Tools, dialect: Dialect, *, lines: bool, keep: bool) -> None:
        self._machine = EventMachine(
            dialect, tools.scanner, tools.guard, tools.findings, tools.redactor, lines=lines, keep_texts=keep
        )
        self._parser: sse.EventParser | sse.LineParser = sse.LineParser() if lines else sse.EventParser()
        self._findings = tools.findings
        self._events: deque[sse.Event] = deque()
        self._ready: list[bytes] = []
        self._over = False
        self._finished = False

    @property
    def model(self) -> str | None:
        """See `Body`."""
        return self._machine.model

    @property
    def text_length(self) -> int:
        """See `Body`."""
        return self._machine.text_length

    def feed(self, data: bytes) -> None:
        """See `Body.feed`."""
        self._events += self._parser.feed(data)

    def end(self) -> None:
        """See `Body.end`."""
        self._events += self._parser.end()
        self._over = True

    def step(self) -> bool:
        """See `Body.step`: all events that are there, up to a question or the end of the answer."""
        machine, events = self._machine, self._events
        if events:
            while events:
                machine.step(events)
                if machine.closing or self._findings.pending:
                    break
                self._ready.append(machine.take())
            return True
        if self._over and not self._finished and self.complete:
            self._finished = True
            machine.finish()
            return True
        return False

    def take(self) -> bytes:
        """See `Body.take`: first what left before the answer's end, or before an open question."""
        if self._ready:
            data = b"".join(self._ready)
            self._ready.clear()
            if data:
                return data
        return b"" if self._findings.pending else self._machine.take()

    @property
    def last(self) -> bool:
        """See `Body.last`."""
        return (self._machine.closing or self._finished) and not self._ready

    @property
    def open_ended(self) -> bool:
        """See `Body.open_ended`."""
        return self._machine.dialect.open_ended

    @property
    def complete(self) -> bool:
        """See `Body.complete`."""
        return self._over and self._parser.clean and self._machine.dialect.complete(self._machine.seen_terminal)

    def answer_texts(self) -> list[str]:
        """See `Body.answer_texts`."""
        return ["".join(parts) for parts in self._machine.texts.values()]


class Passed:
    """Bytes that are not looked at."""

    model: str | None = None
    text_length = 0

    def __init__(self) -> None:
        self._ready = b""
        self._over = False

    def feed(self, data: bytes) -> None:
        """See `Body.feed`."""
        self._ready += data

    def end(self) -> None:
        """See `Body.end`."""
        self._over = True

    def step(self) -> bool:
        """See `Body.step`."""
        return False

    def take(self) -> bytes:
        """See `Body.take`."""
        data, self._ready = self._ready, b""
        return data

    @property
    def last(self) -> bool:
        """See `Body.last`."""
        return self._over

    open_ended = True

    @property
    def complete(self) -> bool:
        """See `Body.complete`."""
        return self._over

    def answer_texts(self) -> list[str]:
        """See `Body.answer_texts`."""
        return []


class Opaque(Passed):
    """Bytes of a type that cannot be read: a finding, and passed on if policy allows it."""

    def __init__(self, tools: Tools) -> None:
        super().__init__()
        self._tools = tools
        self._told = False

    def step(self) -> bool:
        """See `Body.step`."""
        if self._told or not self._ready:
            return False
        self._told = True
        self._tools.findings.add("unreadable", 100, "")
        return True

    def take(self) -> bytes:
        """See `Body.take`."""
        return super().take() if self._told and not self._tools.findings.pending else b""


class PassedEvents:
    """A stream that is not looked at but for its terminal event."""

    model: str | None = None
    text_length = 0

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._parser = sse.EventParser()
        self._events: deque[sse.Event] = deque()
        self._out = bytearray()
        self._terminal = self._over = False

    def feed(self, data: bytes) -> None:
        """See `Body.feed`."""
        self._events += self._parser.feed(data)

    def end(self) -> None:
        """See `Body.end`."""
        self._events += self._parser.end()
        self._over = True

    def step(self) -> bool:
        """See `Body.step`: one event a step, so that what precedes the terminal one leaves before it."""
        if not self._events:
            return False
        event = self._events.popleft()
        if event.data is None:
            self._out += sse.write_comment(event.name)
            return True
        self._terminal = self._terminal or self._ends(event.data, event.name)
        self._out += sse.write(event.name, event.data, event.id)
        return True

    def _ends(self, data: bytes, name: str) -> bool:
        if data == self._dialect.terminal_data and data:
            return True
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            return False
        return isinstance(value, dict) and self._dialect.read(name, value).terminal

    def take(self) -> bytes:
        """See `Body.take`."""
        data = bytes(self._out)
        self._out.clear()
        return data

    @property
    def last(self) -> bool:
        """See `Body.last`."""
        return self._terminal or self._over

    @property
    def open_ended(self) -> bool:
        """See `Body.open_ended`."""
        return self._dialect.open_ended

    @property
    def complete(self) -> bool:
        """See `Body.complete`."""
        return self._over and self._parser.clean and self._dialect.complete(self._terminal)

    def answer_texts(self) -> list[str]:
        """See `Body.answer_texts`."""
        return []
