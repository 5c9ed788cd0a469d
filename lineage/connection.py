"""One client's connection as the log writer sees it: frames in, appends out; acknowledgements in, frames out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol, cast

from lineage import wire
from lineage.control import may_control
from lineage.errors import LineageError

log = logging.getLogger("cordon.lineage.writer")

MAX_UNREAD_BYTES: Final = 64 * 1_048_576
"""Frames that a client has not read; over it the client is cut off."""


class Append(NamedTuple):
    """A record that waits for its commit, with its number on its connection."""

    sequence: int
    record: bytes
    side: bytes | None
    maybe_control: bool

    @property
    def weight(self) -> int:
        """Bytes that it occupies while it waits."""
        return len(self.record) + (0 if self.side is None else len(self.side))


class Host(Protocol):
    """The log writer, as a connection needs it."""

    def admit(self, client: Connection) -> bool:
        """Say whether there is room for another connection."""
        ...

    def leave(self, client: Connection) -> None:
        """Forget a connection."""
        ...

    def welcome(self, client: Connection) -> None:
        """Answer a client's first frame."""
        ...

    def offer(self, client: Connection, append: Append) -> None:
        """Put an append into the next batch, or raise a LineageError that says why not."""
        ...


class Connection(asyncio.Protocol):
    """A client: `flags` says what it wants to be told, `waiting` is its part of the next batches."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._decoder = wire.Decoder(wire.MAX_TO_WRITER)
        self._transport: asyncio.Transport | None = None
        self._greeted = False
        self._next = 0
        self.flags = 0
        self.waiting: list[Append] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._host.admit(self):
            self.cut()

    def data_received(self, data: bytes) -> None:
        """Act on the frames that are complete now; a client that breaks the protocol is cut off, alone."""
        if self._transport is None:
            return
        try:
            for kind, payload in self._decoder.feed(data):
                if self._greeted:
                    self._append(*wire.parse_append(kind, payload))
                elif kind == wire.HELLO:
                    self.flags = wire.parse_hello(payload)
                    self._greeted = True
                    self._host.welcome(self)
                else:
                    raise wire.WireError("a connection begins with HELLO")
        except wire.WireError as error:
            log.warning("a client of the log writer was cut off: %s", error)
            self.cut()

    def _append(self, record: bytes, side: bytes | None) -> None:
        sequence = self._next
        self._next = sequence + 1
        try:
            self._host.offer(self, Append(sequence, record, side, may_control(record)))
        except LineageError as error:
            self.send(wire.refused(sequence, 1, str(error)))

    def acknowledge(self, appends: list[Append], first: int) -> None:
        """Say that appends have the indexes from `first` on."""
        for sequence, count in _runs(appends):
            self.send(wire.ack(sequence, count, first))
            first += count

    def refuse(self, appends: list[Append], reason: str) -> None:
        """Say that none of the appends is in the log."""
        for sequence, count in _runs(appends):
            self.send(wire.refused(sequence, count, reason))

    def send(self, data: bytes) -> None:
        """Write frames; a client that does not read them is cut off."""
        if self._transport is None:
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            log.warning("a client of the log writer does not read its answers and was cut off")
            self.cut()

    def close(self) -> None:
        """Close the connection once everything is written."""
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Close the connection at once; what still comes in is not looked at."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone."""
        self._transport = None
        self._host.leave(self)


def _runs(appends: list[Append]) -> Iterator[tuple[int, int]]:
    """Yield (sequence number, count) of neighbouring appends; one that was refused in between parts them."""
    first = appends[0].sequence
    if appends[-1].sequence - first == len(appends) - 1:
        yield first, len(appends)
        return
    start = 0
    for position in range(1, len(appends) + 1):
        first = appends[start].sequence
        if position == len(appends) or appends[position].sequence - first != position - start:
            yield first, position - start
            start = position
