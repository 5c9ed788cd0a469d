"""Load on a whole Cordon that goes on through every failure, and what has to be true of the log afterwards."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.gateway import Cordon, Record, wait_for

CALLERS = 6
GPT = "gpt-4.1-mini"
PARTS = ("writer-0", "gateway-0", "gateway-1", "soc-0", "control-0")
"""The processes of a Cordon with two workers."""


def two_workers(config: dict[str, Any]) -> None:
    config["gateway"]["workers"] = 2


@dataclass
class Load:
    """Callers that go on through every failure, and what they received: call ids of complete and of broken answers."""

    gateway: Cordon
    key: str
    complete: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    errors: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(n,), daemon=True) for n in range(CALLERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "a call hangs"

    def _call(self, number: int) -> None:
        kinds = (self._whole, self._streamed, self._connector)
        turn = number
        with self.gateway.client(self.key, timeout=10) as client:
            while not self._stop.is_set():
                try:
                    kinds[turn % len(kinds)](client)
                except httpx.HTTPError:
                    self._failed()
                turn += 1

    def _failed(self) -> None:
        """A caller who is refused waits a moment, as clients do, or the refusals would be all that is served."""
        self.errors += 1
        self._stop.wait(0.05)

    def _note(self, answer: httpx.Response, complete: bool) -> None:
        if answer.status_code == 200:
            (self.complete if complete else self.broken).append(answer.headers["x-cordon-call"])
        else:
            self._failed()

    def _connector(self, client: httpx.Client) -> None:
        answer = client.get("/crm/customers/1001")
        self._note(answer, answer.status_code == 200 and answer.json()["id"] == "1001")

    def _whole(self, client: httpx.Client) -> None:
        body = {"model": GPT, "messages": [{"role": "user", "content": "What is the capital of France?"}]}
        answer = client.post("/openai/chat/completions", json=body)
        self._note(answer, answer.status_code == 200 and "Paris" in answer.text)

    def _streamed(self, client: httpx.Client) -> None:
        asked = "standin:words=60 standin:slow=1"
        body = {"model": GPT, "messages": [{"role": "user", "content": asked}], "stream": True}
        with client.stream("POST", "/openai/chat/completions", json=body) as answer:
            text = ""
            try:
                for piece in answer.iter_text():
                    text += piece
            except httpx.HTTPError:
                self._note(answer, False)
                return
            self._note(answer, "data: [DONE]" in text)


def check_promise(gateway: Cordon, load: Load) -> tuple[list[Record], list[Record]]:
    """Each complete answer has its intent and its final outcome, in this order; all intents and outcomes there are."""
    records = gateway.records()
    intents = [record for record in records if record["kind"] == "call.intent"]
    outcomes = [record for record in records if record["kind"] == "call.outcome"]
    intended = {record["call"]: record["index"] for record in intents}
    ended = {record["call"]: record for record in outcomes if record["final"]}
    for call in load.complete:
        assert call in intended, f"{call} was answered and has no intent"
        assert call in ended, f"{call} was answered whole and has no outcome"
        assert ended[call]["verdict"] == "allowed"
        assert intended[call] < ended[call]["index"]
    assert len(set(load.complete)) == len(load.complete)
    return intents, outcomes


def recovered(gateway: Cordon, key: str) -> None:
    """Every part runs again, and calls go through on every worker."""
    wait_for(lambda: set(PARTS) <= set(gateway.processes()), 30)
    row = 0
    deadline = time.monotonic() + 20
    while row < 8:
        try:
            answer = httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})
            row = row + 1 if answer.status_code == 200 else 0
        except httpx.HTTPError:
            row = 0
        assert time.monotonic() < deadline, gateway.errors[-3_000:]


def check_unfinished(gateway: Cordon, intents: list[Record], outcomes: list[Record]) -> None:
    """Intents without an outcome of a life that is over are reported, each once, by that life."""
    ended = {record["intent"] for record in outcomes}
    lives: dict[tuple[str, int], list[str]] = {}
    for record in gateway.records(0, "process.started"):
        lives.setdefault((record["role"], record["slot"]), []).append(record["boot"])
    stopped = {record["boot"] for record in gateway.records(0, "process.stopped")}
    over = {boot for boots in lives.values() for boot in boots[:-1]} - stopped
    wait_for(lambda: over <= {record["lost_boot"] for record in gateway.records(0, "process.lost")}, 10)
    lost = gateway.records(0, "process.lost")
    assert len({record["lost_boot"] for record in lost}) == len(lost)
    unfinished: dict[str, list[int]] = {}
    for record in intents:
        if record["index"] not in ended:
            unfinished.setdefault(record["boot"], []).append(record["index"])
    alerts = Counter(alert["subject"] for alert in gateway.records(0, "alert.raised"))
    for boot in over:
        (report,) = [record for record in lost if record["lost_boot"] == boot]
        found = unfinished.get(boot, [])
        assert report["count"] == len(found) and report["intents"] == found[:100]
        assert alerts[boot] == (1 if found else 0)
