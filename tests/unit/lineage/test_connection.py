"""A connection as the writer sees it, without sockets."""

from __future__ import annotations

from typing import cast

import pytest

from lineage import wire
from lineage.connection import MAX_UNREAD_BYTES, Append, Connection, _runs
from lineage.errors import LogUnavailable


class Wire:
    """What the connection writes, and whether it was closed."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.unread = 0
        self.aborted = self.closed = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True


class Host:
    """A writer that notes what it is asked for."""

    def __init__(self, room: bool = True) -> None:
        self.room = room
        self.offers: list[Append] = []
        self.welcomed = self.left = 0
        self.refuse: str | None = None

    def admit(self, client: Connection) -> bool:
        return self.room

    def leave(self, client: Connection) -> None:
        self.left += 1

    def welcome(self, client: Connection) -> None:
        self.welcomed += 1

    def offer(self, client: Connection, append: Append) -> None:
        if self.refuse is not None:
            raise LogUnavailable(self.refuse)
        self.offers.append(append)


def connected(host: Host) -> tuple[Connection, Wire]:
    connection, line = Connection(host), Wire()
    connection.connection_made(cast("object", line))  # type: ignore[arg-type]
    return connection, line


def frames(line: Wire) -> list[tuple[int, bytes]]:
    got = wire.Decoder(10_000_000).feed(bytes(line.sent))
    line.sent.clear()
    return got


def test_a_dialogue() -> None:
    host = Host()
    connection, line = connected(host)
    connection.data_received(wire.hello(wire.WANTS_SIZE)[:3])
    assert host.welcomed == 0
    connection.data_received(wire.hello(wire.WANTS_SIZE)[3:] + wire.append(b"one", None) + wire.append(b"two", b"blob"))
    assert host.welcomed == 1
    assert connection.flags == wire.WANTS_SIZE
    assert host.offers == [Append(0, b"one", None, False), Append(1, b"two", b"blob", False)]
    assert [append.weight for append in host.offers] == [3, 7]
    connection.acknowledge(host.offers, 40)
    assert frames(line) == [(wire.ACK, wire.ack(0, 2, 40)[5:])]
    connection.connection_lost(None)
    assert host.left == 1
    connection.send(b"into the void")
    assert not line.sent


def test_control_records_are_marked() -> None:
    host = Host()
    connection, _ = connected(host)
    connection.data_received(wire.hello(0) + wire.append(b'{"kind":"admin.key_revoked"}', None))
    assert host.offers[0].maybe_control


def test_a_refused_append_is_told_at_once_and_keeps_its_number() -> None:
    host = Host()
    connection, line = connected(host)
    connection.data_received(wire.hello(0) + wire.append(b"one", None))
    host.refuse = "the queue is full"
    connection.data_received(wire.append(b"two", None))
    host.refuse = None
    connection.data_received(wire.append(b"three", None))
    [(kind, payload)] = frames(line)
    assert kind == wire.REFUSED
    assert wire.parse_refused(payload) == (1, 1, "the queue is full")
    assert [append.sequence for append in host.offers] == [0, 2]
    connection.acknowledge(host.offers, 7)
    assert [wire.parse_ack(payload) for _, payload in frames(line)] == [(0, 1, 7), (2, 1, 8)]


def test_a_refused_commit_is_told_for_each_run_of_appends() -> None:
    connection, line = connected(Host())
    connection.refuse([Append(n, b"r", None, False) for n in (3, 4, 8)], "the disk is full")
    assert [wire.parse_refused(payload) for _, payload in frames(line)] == [
        (3, 2, "the disk is full"),
        (8, 1, "the disk is full"),
    ]


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [
        ([5], [(5, 1)]),
        ([5, 6, 7], [(5, 3)]),
        ([5, 7], [(5, 1), (7, 1)]),
        ([1, 2, 5, 6, 9], [(1, 2), (5, 2), (9, 1)]),
        ([0, 2, 3, 4], [(0, 1), (2, 3)]),
    ],
)
def test_runs_cover_each_append_once(sequences: list[int], expected: list[tuple[int, int]]) -> None:
    assert list(_runs([Append(sequence, b"r", None, False) for sequence in sequences])) == expected


@pytest.mark.parametrize(
    "data",
    [
        wire.append(b"before hello", None),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff" * 64,
        wire.hello(0) + wire.hello(0),
        wire.hello(0) + wire.append(b"", None),
        wire.hello(0) + b"\xff\xff\xff\xff\x02",
        wire.frame(wire.HELLO, b"\x00\x63\x00"),
    ],
)
def test_a_client_that_breaks_the_protocol_is_cut_off_and_heard_no_more(data: bytes) -> None:
    host = Host()
    connection, line = connected(host)
    connection.data_received(data)
    assert line.aborted
    connection.data_received(wire.hello(0) + wire.append(b"smuggled", None))
    assert host.offers == []


def test_a_client_that_reads_nothing_is_cut_off() -> None:
    connection, line = connected(Host())
    connection.send(b"fine")
    assert not line.aborted
    line.unread = MAX_UNREAD_BYTES + 1
    connection.send(b"too much")
    assert line.aborted


def test_a_client_for_whom_there_is_no_room_is_turned_away() -> None:
    host = Host(room=False)
    connection, line = connected(host)
    assert line.aborted
    connection.data_received(wire.hello(0) + wire.append(b"x", None))
    assert host.offers == []


def test_closing_lets_what_was_written_go_out() -> None:
    connection, line = connected(Host())
    connection.close()
    assert line.closed
    assert not line.aborted
