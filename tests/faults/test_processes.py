"""Processes die and connections break under load: what a client received complete is in the log, and all comes back."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.support.gateway import Cordon, cordon, wait_for
from tests.support.load import GPT, Load, check_promise, check_unfinished, recovered, two_workers

LOAD_SECONDS = 12.0


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
                killed += gateway.killed(name)
        recovered(gateway, key)
        assert killed >= 8 and len(load.complete) > 100, (killed, len(load.complete), load.errors)
        intents, outcomes = check_promise(gateway, load)
        check_unfinished(gateway, intents, outcomes)
        assert gateway.cli("log", "verify")["wrong"] == 0


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
