"""A worker that slept through a containment or a revocation sends nothing of what it was holding when it wakes."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.gateway import Cordon, cordon, wait_for

SLEEP_SECONDS = 10.0
SHORT_SECONDS = 4.0
"""Shorter than the supervisor's patience: the worker itself goes on afterwards."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Cordon]:
    with cordon() as running:
        yield running


@contextmanager
def asleep(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # given up by the supervisor meanwhile
            os.kill(pid, signal.SIGCONT)


def open_request(gateway: Cordon, key: str, note: str, *, whole: bool) -> socket.socket:
    """A call on a connection of its own, its body sent whole or all but the last byte."""
    address = urlsplit(gateway.url)
    body = json.dumps({"note": note}).encode()
    head = (
        f"POST /crm/customers/1001/notes HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    connection = socket.create_connection((address.hostname or "", address.port or 0), 30)
    connection.sendall(head + (body if whole else body[:-1]))
    return connection


def answer_of(connection: socket.socket) -> int:
    """The status of the answer; 0 where the connection ended without one."""
    with closing(connection):
        try:
            connection.sendall(b"}")
        except OSError:
            return 0
        try:
            line = connection.makefile("rb").readline()
        except OSError:
            return 0
        return int(line.split()[1]) if line else 0


def end_it(gateway: Cordon, how: str, name: str) -> int:
    """Contain the principal or revoke its key; the index of the record."""
    start = gateway.log.size()
    if how == "contained":
        gateway.cli("contain", f"acme/{name}", "--reason", "a drill")
        return int(gateway.until("containment.applied", start)["index"])
    (key,) = [row for row in gateway.cli("key", "list") if row["name"] == name]
    gateway.cli("key", "revoke", key["id"])
    return int(gateway.until("admin.key_revoked", start)["index"])


@pytest.mark.parametrize(
    ("how", "seconds"),
    [("contained", SHORT_SECONDS), ("revoked", SHORT_SECONDS), ("contained", SLEEP_SECONDS)],
    ids=["contained", "revoked", "given-up"],
)
def test_what_a_worker_slept_through_holds_when_it_wakes(gateway: Cordon, how: str, seconds: float) -> None:
    name = f"{how}-{seconds:.0f}"
    key, other = gateway.key(name), gateway.key(f"other-{name}")
    headers = {"authorization": f"Bearer {key}"}
    assert httpx.get(f"{gateway.url}/crm/customers/1001", headers=headers).status_code == 200
    pid = gateway.processes()["gateway-0"]
    begun = [open_request(gateway, key, name, whole=False) for _ in range(5)]
    time.sleep(0.3)  # Their heads were admitted with a key and a principal in good standing.
    with asleep(pid):
        queued = [open_request(gateway, key, name, whole=True) for _ in range(5)]
        index = end_it(gateway, how, name)
        time.sleep(seconds)
    answers = [answer_of(connection) for connection in begun + queued]
    assert not {200, 201} & set(answers), answers
    if seconds == SHORT_SECONDS:
        assert gateway.processes()["gateway-0"] == pid, "it was not asleep for long enough to be given up"
        assert set(answers) == {403 if how == "contained" else 401}
    wait_for(lambda: "gateway-0" in gateway.processes(), 20)
    assert not [received for received in gateway.eu.received if name.encode() in received.body], "one was sent"
    ended = [record for record in gateway.records(index, "call.outcome") if record["principal"] == f"acme/{name}"]
    assert "allowed" not in {record["verdict"] for record in ended}

    def others() -> bool:
        try:
            answer = httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {other}"})
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    wait_for(others, 20)
    assert gateway.cli("log", "verify")["wrong"] == 0
