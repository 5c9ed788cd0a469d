"""The database server under a whole Cordon under load: killed, paused and restarted, and it comes back by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.gateway import Cordon, cordon, wait_for
from tests.support.load import Load, check_promise, recovered, two_workers
from tests.support.postgres import Postgres, postgres

PAUSE_SECONDS = 6.0


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def killed(server: Postgres) -> None:
    server.kill()
    time.sleep(1.0)
    server.start()


def restarted(server: Postgres) -> None:
    server.stop()
    time.sleep(1.0)
    server.start()


def paused(server: Postgres) -> None:
    """Every process of the server sleeps, with whatever commits it had in its hands."""
    family = [server.pid, *children(server.pid)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(PAUSE_SECONDS)
    for pid in reversed(family):
        os.kill(pid, signal.SIGCONT)


def children(parent: int) -> list[int]:
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        return [int(pid) for pid in file.read().split()]


def refusals(load: Load) -> int:
    return load.errors + len(load.broken)


def test_whatever_happens_to_the_server_nothing_acknowledged_is_lost_or_doubled(server: Postgres) -> None:
    database = server.database()

    def change(config: dict[str, Any]) -> None:
        two_workers(config)
        config["database"] = database

    with cordon(change) as gateway:
        key = gateway.key("loader")
        with Load(gateway, key) as load:
            for fault in (killed, paused, restarted):
                flows(load, f"before it was {fault.__name__}")
                under(fault, server, load, gateway, key)
            flows(load, "at the end")
        recovered(gateway, key)
        intents, outcomes = check_promise(gateway, load)
        indexes = [record["index"] for record in gateway.records()]
        assert indexes == list(range(len(indexes)))
        for records in (intents, [record for record in outcomes if record["final"]]):
            of_attempts = [(record["call"], record["attempt"]) for record in records]
            assert len(set(of_attempts)) == len(of_attempts), "a record is there twice"
        assert gateway.cli("log", "verify")["wrong"] == 0
        assert server.password not in gateway.errors


def flows(load: Load, when: str) -> None:
    """Calls go through again, without anybody having done anything."""
    before = len(load.complete)
    wait_for(lambda: len(load.complete) >= before + 10, 40)
    assert len(load.complete) > before, when


def under(fault: Callable[[Postgres], None], server: Postgres, load: Load, gateway: Cordon, key: str) -> None:
    """While the server is away calls are refused, quickly and as what they are."""
    before = refusals(load)
    fault(server)
    assert refusals(load) > before, f"calls went through while the server was {fault.__name__}"


def test_a_call_while_the_server_is_away_is_told_so(server: Postgres) -> None:
    database = server.database()
    with cordon(lambda config: config.update(database=database)) as gateway:
        key = gateway.key("caller")
        server.kill()
        try:
            began = time.monotonic()
            answer = httpx.get(
                f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"}, timeout=20
            )
            assert answer.status_code == 503, answer.text
            assert time.monotonic() - began < 5
            assert server.password not in answer.text
        finally:
            server.start()
        recovered_alone(gateway, key)


def recovered_alone(gateway: Cordon, key: str) -> None:
    def through() -> bool:
        answer = httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})
        return answer.status_code == 200

    wait_for(through, 20)
