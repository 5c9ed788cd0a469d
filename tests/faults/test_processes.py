"""Processes die and connections break under load: what a client received complete is in the log, and all comes back."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.support.gateway import Cordon, Record, cordon, wait_for

LOAD_SECONDS = 12.0
CALLERS = 6
GPT = "gpt-4.1-mini"


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
                    self.errors += 1
                turn += 1

    def _note(self, answer: httpx.Response, complete: bool) -> None:
        if answer.status_code == 200:
            (self.complete if complete else self.broken).append(answer.headers["x-cordon-call"])
        else:
            self.errors += 1

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
    parts = {"writer-0", "gateway-0", "gateway-1", "soc-0", "control-0"}
    wait_for(lambda: parts <= set(gateway.processes()), 30)
    row = 0
    deadline = time.monotonic() + 20
    while row < 8:
        try:
            answer = httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})
            row = row + 1 if answer.status_code == 200 else 0
        except httpx.HTTPError:
            row = 0
        assert time.monotonic() < deadline, gateway.errors[-3_000:]


@pytest.mark.parametrize("seed", [1])
def test_whatever_is_killed_complete_answers_have_their_records(seed: int) -> None:
    chance = random.Random(seed)
    # Each part dies a few times: one that dies again and again is restarted ever later, and then little is under load.
    victims = ["gateway-0", "gateway-1", "writer-0", "soc-0"] * 3
    chance.shuffle(victims)
    with cordon(two_workers) as gateway:
        key = gateway.key("loader")
        killed = 0
        with Load(gateway, key) as load:
            for name in victims:
                time.sleep(chance.uniform(0.1, 2 * LOAD_SECONDS / len(victims)))
                if name in gateway.processes():
                    gateway.kill(name)
                    killed += 1
        recovered(gateway, key)
        assert killed >= 8 and len(load.complete) > 100, (killed, len(load.complete), load.errors)
        intents, outcomes = check_promise(gateway, load)
        check_unfinished(gateway, intents, outcomes)
        assert gateway.cli("log", "verify")["wrong"] == 0


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
    for boot in over:
        (report,) = [record for record in lost if record["lost_boot"] == boot]
        open_intents = [r["index"] for r in intents if r["boot"] == boot and r["index"] not in ended]
        assert report["count"] == len(open_intents) and report["intents"] == open_intents[:100]
        alerts = [alert for alert in gateway.records(0, "alert.raised") if alert["subject"] == boot]
        assert len(alerts) == (1 if open_intents else 0)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Cordon]:
    with cordon(two_workers) as running:
        yield running


@pytest.fixture(scope="module")
def key(gateway: Cordon) -> str:
    return gateway.key("tester")


def chat(text: str, stream: bool = True) -> dict[str, Any]:
    return {"model": GPT, "messages": [{"role": "user", "content": text}], "stream": stream}


@contextmanager
def streaming(gateway: Cordon, key: str, text: str) -> Iterator[httpx.Response]:
    body = chat(text)
    with gateway.client(key) as client, client.stream("POST", "/openai/chat/completions", json=body) as answer:
        yield answer


def test_a_worker_that_dies_leaves_its_open_calls_reported(gateway: Cordon, key: str) -> None:
    start = gateway.log.size()
    with streaming(gateway, key, "standin:words=900 standin:slow=20") as answer:
        call = answer.headers["x-cordon-call"]
        intent = gateway.until("call.intent", start, call=call)
        name = next(n for n in gateway.processes() if intent["boot"].startswith(f"{n}-"))
        old = gateway.kill(name)
        with pytest.raises(httpx.HTTPError):
            answer.read()
    gateway.restarted(name, old)
    lost = gateway.until("process.lost", start, lost_boot=intent["boot"])
    assert lost["intents"] == [intent["index"]] and lost["count"] == 1
    alert = gateway.until("alert.raised", start, subject=intent["boot"])
    assert alert["detector"] == "unfinished" and alert["evidence"] == [intent["index"]]
    recovered(gateway, key)


def test_without_a_log_writer_calls_are_refused_and_streams_do_not_end_whole(gateway: Cordon, key: str) -> None:
    with streaming(gateway, key, "standin:words=40 standin:slow=10") as answer:
        pieces = answer.iter_text()
        next(pieces)
        began = time.monotonic()
        old = gateway.kill("writer-0")
        refused = httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})
        assert refused.status_code in {200, 503}
        text = ""
        try:
            text = "".join(pieces)
        except httpx.HTTPError:
            text = ""
        call = answer.headers["x-cordon-call"]
    gateway.restarted("writer-0", old)
    recovered(gateway, key)
    assert time.monotonic() - began < 10
    if "data: [DONE]" in text:
        assert any(r["call"] == call for r in gateway.records(0, "call.outcome"))


def test_the_soc_process_dies_in_the_middle_of_a_burst_and_still_contains_once(gateway: Cordon) -> None:
    start = gateway.log.size()
    stolen = gateway.key("stolen")
    with gateway.client(stolen) as client:
        for n in range(10):
            if n == 6:
                old = gateway.kill("soc-0")
            client.get("/hr/salaries")
    gateway.restarted("soc-0", old)
    gateway.until("containment.applied", start, target="acme/stolen", seconds=20)
    old = gateway.kill("soc-0")
    gateway.restarted("soc-0", old)
    wait_for(lambda: len(gateway.records(start, "process.started")) >= 2)
    time.sleep(1.0)
    assert len(gateway.records(start, "containment.applied")) == 1
    assert len([a for a in gateway.records(start, "alert.raised") if a["subject"] == "acme/stolen"]) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_an_upstream_that_breaks_off_is_noticed_by_the_client_and_the_log(
    gateway: Cordon, key: str, stream: bool
) -> None:
    start = gateway.log.size()
    with gateway.client(key) as client:
        try:
            answer = client.post("/openai/chat/completions", json=chat("capital of france standin:cut=4", stream))
        except httpx.RemoteProtocolError:
            answer = None
    if answer is not None:
        assert "data: [DONE]" not in answer.text
        assert answer.status_code == 502 or "error" in answer.text
    outcome = gateway.until("call.outcome", start, final=True)
    assert outcome["verdict"] == "failed"


def test_a_client_that_leaves_in_mid_stream_has_its_outcome(gateway: Cordon, key: str) -> None:
    start = gateway.log.size()
    with streaming(gateway, key, "standin:words=900 standin:slow=20") as answer:
        next(answer.iter_text())
    outcome = gateway.until("call.outcome", start, call=answer.headers["x-cordon-call"])
    assert outcome["verdict"] == "cut" and outcome["final"]


def test_an_upstream_that_stalls_does_not_hold_up_the_stop_for_ever() -> None:
    with cordon(lambda config: config["gateway"]["limits"].update(drain_time=1)) as gateway:
        key = gateway.key("tester")
        with streaming(gateway, key, "standin:stall") as answer:
            began = time.monotonic()
            gateway.stop()
            assert time.monotonic() - began < 10
            with pytest.raises(httpx.HTTPError):
                answer.read()
        outcomes = gateway.records(0, "call.outcome")
        assert [outcome["verdict"] for outcome in outcomes] == ["cut"]


def test_the_supervisor_dies_and_nothing_is_left_running() -> None:
    with cordon() as gateway:
        gateway.key("tester")
        pids = set(gateway.processes().values())
        assert gateway._process is not None
        gateway._process.kill()
        gateway._process.wait()
        wait_for(lambda: not any(_alive(pid) for pid in pids), 10)
        assert gateway._process.stdout is not None
        gateway._process.stdout.close()
        gateway._process = None
        gateway.start()
        assert json.dumps(gateway.cli("key", "list"))


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False
