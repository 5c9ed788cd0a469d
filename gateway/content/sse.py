"""Server-sent events (WHATWG HTML §9.2), read and written piece by piece."""

from __future__ import annotations

import re

from gateway.content.errors import ContentError

EVENT_LIMIT = 4 << 20
"""Largest event in bytes."""

_NAME = re.compile(r"[\w.:/ -]{0,128}", re.ASCII)
_ID = re.compile(r"[\x20-\x7e]{0,256}")
_COMMENT = re.compile(r"[A-Za-z .-]{0,40}")


class Event:
    """One event. `data` is UTF-8, or None for a comment (`name` is its text then)."""

    __slots__ = ("data", "id", "name")

    def __init__(self, name: str, data: bytes | None, id: str | None = None) -> None:
        self.name = name
        self.data = data
        self.id = id


def write(name: str, data: bytes, id: str | None = None) -> bytes:
    """The bytes of an event."""
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    if not name and id is None:
        return b"data: " + data + b"\n\n"
    head = f"event: {name}\n" if name else ""
    if id is not None:
        head += f"id: {id}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def text_of(data: bytes) -> str:
    """The text of an event's data; ContentError."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ContentError("encoding", "an event is not UTF-8") from error


def write_comment(text: str) -> bytes:
    """The bytes of a comment, which clients ignore: it keeps a connection alive."""
    return f": {text}\n\n".encode() if text else b":\n\n"


class EventParser:
    """Bytes in, events out; the same events for any cut of the bytes.

    Only what an event's receiver can see is kept: unknown fields and `retry` are dropped. A comment that is more
    than a few words is emptied.
    """

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._carriage = False
        self._started = False

    def feed(self, data: bytes) -> list[Event]:
        """Events that are complete now; ContentError."""
        if b"\r" in data or self._carriage:
            data = self._line_feeds(data)
        if not data:
            return []
        before = self._parts[-1][-1:] if self._parts else b""
        self._parts.append(data)
        self._size += len(data)
        if b"\n\n" not in before + data:
            # Pieces of a long event are put together once, when its end is there.
            if self._size > self._limit:
                raise ContentError("too_large", f"an event is larger than {self._limit} bytes")
            return []
        buffer = b"".join(self._parts)
        if not self._started:
            self._started = True
            buffer = buffer.removeprefix(b"\xef\xbb\xbf")
        blocks = buffer.split(b"\n\n")
        rest = blocks.pop()
        self._parts, self._size = ([rest] if rest else []), len(rest)
        if self._size > self._limit:
            raise ContentError("too_large", f"an event is larger than {self._limit} bytes")
        events: list[Event] = []
        for block in blocks:
            self._read(block, events)
        return events

    def end(self) -> list[Event]:
        """Events that the end of the input completes (one that ends in two CRs)."""
        return self.feed(b"\n") if self._carriage else []

    @property
    def clean(self) -> bool:
        """Whether nothing is left over: the last event was complete."""
        return not b"".join(self._parts).strip(b"\n")

    def _line_feeds(self, data: bytes) -> bytes:
        """CR and CRLF become LF; whether a CR at the end is followed by LF is seen with the next piece."""
        if self._carriage and data:
            data = data if data[:1] == b"\n" else b"\n" + data
            self._carriage = False
        if data[-1:] == b"\r":
            self._carriage = True
            data = data[:-1]
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read(self, block: bytes, events: list[Event]) -> None:
        if len(block) > self._limit:
            raise ContentError("too_large", f"an event is larger than {self._limit} bytes")
        if block.startswith(b"data: ") and b"\n" not in block:
            events.append(Event("", block[6:]))
            return
        name, identifier = "", None
        data: list[bytes] = []
        for line in block.split(b"\n"):
            field, colon, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = text_of(value)
            elif field == b"id" and b"\x00" not in value:
                identifier = text_of(value)
            elif colon and not field:
                comment = value.decode(errors="replace")
                events.append(Event(comment if _COMMENT.fullmatch(comment) else "", None))
        if not data:
            return
        if not _NAME.fullmatch(name) or (identifier is not None and not _ID.fullmatch(identifier)):
            raise ContentError("malformed", "an event has a name or id that is not plain text")
        events.append(Event(name, b"\n".join(data), identifier))


class LineParser:
    """Lines of JSON (one value a line) as events without a name."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._buffer = b""

    def feed(self, data: bytes) -> list[Event]:
        """Lines that are complete now; ContentError."""
        lines = (self._buffer + data).split(b"\n")
        self._buffer = lines.pop()
        if len(self._buffer) > self._limit:
            raise ContentError("too_large", f"a line is larger than {self._limit} bytes")
        return [self._event(line) for line in lines if line.strip()]

    def end(self) -> list[Event]:
        """The last line, which need not be ended."""
        line, self._buffer = self._buffer, b""
        return [self._event(line)] if line.strip() else []

    clean = True

    def _event(self, line: bytes) -> Event:
        if len(line) > self._limit:
            raise ContentError("too_large", f"a line is larger than {self._limit} bytes")
        return Event("", line.removesuffix(b"\r"))
