"""Clients that send and read by drops, or come by the thousand: what they hold is bounded, and others are served."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.gateway import Cordon, cordon, wait_for

CONNECTIONS = 300
FLOOD = 700
SECONDS = 3.0
READERS = 3
GROWTH = 60_000_000
"""Bytes that a worker may grow by under a flood, most of it the connections' own buffers, whatever is sent."""


def tight(config: dict[str, Any]) -> None:
    config["gateway"]["limits"].update(
        connections=CONNECTIONS, head_time=SECONDS, body_time=SECONDS, answer_idle_time=SECONDS, idle_time=SECONDS,
        buffered=8_388_608, body=1_048_576,
    )  # fmt: skip


@pytest.fixture(scope="module")
def gateway() -> Iterator[Cordon]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4_096)), hard))
    with cordon(tight) as running:
        yield running


@pytest.fixture(scope="module")
def key(gateway: Cordon) -> str:
    return gateway.key("caller")


def memory(gateway: Cordon) -> int:
    """Resident bytes of the worker that are its own."""
    pid = gateway.processes()["gateway-0"]
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(row.split()[1]) * 1_024 for row in rows if row.startswith("Private_"))


def connect(gateway: Cordon) -> socket.socket:
    address = urlsplit(gateway.url)
    connection = socket.create_connection((address.hostname or "", address.port or 0), 10)
    connection.settimeout(10)
    return connection


def served(gateway: Cordon, key: str) -> bool:
    """Whether somebody else gets an answer, on a connection of their own, within the time of one."""
    try:
        answer = httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"}, timeout=3)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


def ended(connection: socket.socket) -> bytes:
    """What is left to read until the gateway closes; an error where it does not."""
    data = b""
    with suppress(ConnectionError):
        while piece := connection.recv(65_536):
            data += piece
    return data


@contextmanager
def bounded(gateway: Cordon, key: str) -> Iterator[None]:
    """What happens within leaves the worker alive, in its memory, and serving."""
    assert served(gateway, key)
    before, pid = memory(gateway), gateway.processes()["gateway-0"]
    yield
    assert memory(gateway) - before < GROWTH
    wait_for(lambda: served(gateway, key), 2 * SECONDS)
    assert gateway.processes()["gateway-0"] == pid


def head(key: str, length: int) -> bytes:
    return (
        f"POST /crm/customers/1001/notes HTTP/1.1\r\nhost: a.example\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    ).encode()


def drops(text: bytes) -> Callable[[socket.socket], None]:
    """Send the next byte of `text` on each call."""
    sent: dict[socket.socket, int] = {}

    def drop(connection: socket.socket) -> None:
        at = sent[connection] = sent.get(connection, -1) + 1
        connection.send(text[at % len(text) : at % len(text) + 1])

    return drop


@pytest.mark.parametrize("what", ["heads", "bodies"])
def test_what_is_sent_by_drops_ends_in_time_while_others_are_served(gateway: Cordon, key: str, what: str) -> None:
    """A byte now and then keeps no connection: the limit is on the whole head, and on the whole body."""
    with bounded(gateway, key), ExitStack() as stack:
        began = time.monotonic()
        slow = [stack.enter_context(connect(gateway)) for _ in range(CONNECTIONS // 2)]
        for connection in slow:
            connection.send(b"GET /crm/customers/1001 HTTP/1.1\r\nx-a: " if what == "heads" else head(key, 100_000))
        drop = drops(b"a" * 1_000)
        open_ones = list(slow)
        while open_ones and time.monotonic() - began < 3 * SECONDS:
            assert served(gateway, key)
            for connection in list(open_ones):
                try:
                    drop(connection)
                except OSError:
                    open_ones.remove(connection)
            time.sleep(0.3)
        assert open_ones == [], "drops keep a connection open"
        assert time.monotonic() - began >= SECONDS - 0.5


def test_answers_that_nobody_reads_are_cut_and_hold_only_so_much(gateway: Cordon, key: str) -> None:
    asked = b'{"model":"gpt-4.1-mini","stream":true,"messages":[{"role":"user","content":"standin:words=60000"}]}'
    request = (
        b"POST /openai/chat/completions HTTP/1.1\r\nhost: a.example\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (key.encode(), len(asked), asked)
    )
    start = gateway.log.size()
    with bounded(gateway, key), ExitStack() as stack:
        for _ in range(READERS):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            address = urlsplit(gateway.url)
            connection.connect((address.hostname or "", address.port or 0))
            connection.sendall(request)

        def cut() -> bool:
            return [r["verdict"] for r in gateway.records(start, "call.outcome")].count("cut") >= READERS

        wait_for(cut, 40)


def test_a_flood_of_connections_is_turned_away_and_passes(gateway: Cordon, key: str) -> None:
    with bounded(gateway, key), ExitStack() as stack:
        flood: list[socket.socket] = []
        for _ in range(FLOOD):
            with suppress(OSError):
                flood.append(stack.enter_context(connect(gateway)))
        turned_away = 0
        for connection in flood:
            connection.settimeout(0.02)
            with suppress(OSError):
                turned_away += b" 503 " in connection.recv(200)
        assert turned_away >= FLOOD - CONNECTIONS - 50, turned_away
        wait_for(lambda: served(gateway, key), 3 * SECONDS)  # with the flood still open: idle ones go by their time


def test_heads_without_end_and_of_too_many_lines_are_refused_at_their_limit(gateway: Cordon, key: str) -> None:
    with bounded(gateway, key):
        for round_ in range(60):
            for field in (b"x-%d: %b\r\n", b"x-long-%d: %b"):
                with connect(gateway) as connection:
                    connection.sendall(b"GET /crm/customers/1001 HTTP/1.1\r\nhost: a.example\r\n")
                    with suppress(ConnectionError, TimeoutError):
                        for number in range(400):
                            connection.send(field % (number, b"a" * 500))
                    answer = ended(connection)
                    assert not answer or b" 431 " in answer.partition(b"\r\n")[0] + b" "
            if round_ % 20 == 0:
                assert served(gateway, key)


def test_bodies_that_fill_all_buffers_are_refused_and_given_up(gateway: Cordon, key: str) -> None:
    """Many callers, each with a large body that never ends, against one budget."""
    with bounded(gateway, key), ExitStack() as stack:
        refused = 0
        for _ in range(40):
            connection = stack.enter_context(connect(gateway))
            connection.settimeout(0.2)
            with suppress(OSError):
                connection.sendall(head(key, 1_000_000) + b'"' + b"a" * 900_000)
            with suppress(OSError):
                refused += b" 503 " in connection.recv(200)
        assert refused >= 25, refused
