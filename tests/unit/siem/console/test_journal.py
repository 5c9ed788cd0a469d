"""The bridge to the log: an append is durable or an error, in bounded time, and the state is never an old one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from lineage.actions import Stamp, sign_in
from lineage.control import ControlState
from lineage.errors import LogUnavailable, RecordError
from siem.console import journal as module
from siem.console.journal import Journal

RECORD = sign_in(Stamp(1_700_000_000_000, "control-0-TEST"), account="ana", source="::1")


class Client:
    """A log client whose answers the test chooses."""

    def __init__(self) -> None:
        self.connected = True
        self.control = ControlState(epoch=1)
        self.taken: list[bytes] = []
        self.answer: object = 7

    def append(self, record: bytes) -> asyncio.Future[int]:
        self.taken.append(record)
        future = asyncio.get_running_loop().create_future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        elif self.answer is not None:
            future.set_result(self.answer)
        return future


@contextmanager
def journal(client: Client) -> Iterator[Journal]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    reader = SimpleNamespace(control=lambda: ControlState(epoch=2))
    try:
        yield Journal(client, reader, loop, "control-0-TEST")  # type: ignore[arg-type]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_an_append_returns_the_index_of_the_canonical_record():
    client = Client()
    with journal(client) as bridge:
        assert bridge.append(RECORD) == 7
    assert client.taken[0].startswith(b'{"account":"ana","at":1700000000000,"boot":"control-0-TEST"')


def test_a_log_that_is_away_says_so_at_once():
    client = Client()
    client.answer = LogUnavailable("the log writer is away")
    with journal(client) as bridge, pytest.raises(LogUnavailable, match="away"):
        bridge.append(RECORD)


def test_a_log_that_does_not_answer_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_WAIT_SECONDS", 0.05)
    client = Client()
    client.answer = None
    with journal(client) as bridge:
        begun = time.monotonic()
        with pytest.raises(LogUnavailable, match="in time"):
            bridge.append(RECORD)
        assert time.monotonic() - begun < 2


def test_what_is_no_record_never_reaches_the_log():
    client = Client()
    with journal(client) as bridge, pytest.raises(RecordError):
        bridge.append({"kind": "made.up"})
    assert client.taken == []


def test_the_control_state_is_the_clients_while_connected_and_the_logs_own_otherwise():
    client = Client()
    with journal(client) as bridge:
        assert (bridge.writable, bridge.control.epoch) == (True, 1)
        client.connected = False
        assert (bridge.writable, bridge.control.epoch) == (False, 2)


def test_a_stamp_is_of_now_and_of_this_life():
    with journal(Client()) as bridge:
        stamp = bridge.stamp()
    assert stamp.boot == "control-0-TEST"
    assert abs(stamp.at - time.time() * 1000) < 10_000
