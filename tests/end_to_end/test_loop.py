"""Contained within a second: a stolen key probes, is contained with its live streams, is released, and works again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.support.gateway import Cordon, cordon, wait_for

THRESHOLD = 10
GPT = "gpt-4.1-mini"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Cordon]:
    def two_workers(config: dict[str, Any]) -> None:
        config["gateway"]["workers"] = 2
        config["detection"]["contain"] = {"seconds": 60, "most": 100}
        config["detection"]["finding_volume"] = {"untrained": 50, "floor": 50}

    with cordon(two_workers) as running:
        yield running


class Stream:
    """A long answer that is read in a thread; `error` is how it ended, `at` when (monotonic)."""

    def __init__(self, gateway: Cordon, key: str) -> None:
        self.error: Exception | None = None
        self.finished = False
        self.at = 0.0
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(gateway.url, key), daemon=True)
        self._thread.start()
        assert self._begun.wait(10)

    def _read(self, url: str, key: str) -> None:
        with openai.OpenAI(base_url=f"{url}/openai", api_key=key, max_retries=0) as client:
            try:
                messages: Any = [{"role": "user", "content": "standin:words=2000 standin:slow=20"}]
                for chunk in client.chat.completions.create(model=GPT, messages=messages, stream=True):
                    if any(choice.delta.content for choice in chunk.choices):
                        self._begun.set()
                self.finished = True
            except (openai.OpenAIError, httpx.HTTPError) as error:
                self.error = error
            self.at = time.monotonic()
            self._begun.set()

    def ended(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


def probe(gateway: Cordon, key: str, times: int) -> None:
    with gateway.client(key) as client:
        for _ in range(times):
            assert client.get("/hr/salaries").status_code == 404


def until_contained(gateway: Cordon, key: str) -> float:
    """Call on new connections, so that every worker is met, until eight calls in a row are refused; when that was."""
    deadline = time.monotonic() + 5
    row = 0
    while row < 8:
        answer = httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})
        contained = answer.status_code == 403 and answer.json()["stage"] == "containment"
        if contained and row == 0:
            first = time.monotonic()
        row = row + 1 if contained else 0
        assert time.monotonic() < deadline, "not contained"
    return first


def containment_of(gateway: Cordon, target: str, start: int) -> dict[str, Any]:
    return gateway.until("containment.applied", start, target=target)


def test_a_stolen_key_is_contained_with_its_streams_and_released_again(gateway: Cordon) -> None:
    start = gateway.log.size()
    key, other = gateway.key("ci-bot"), gateway.key("bystander")
    stream, bystander = Stream(gateway, key), Stream(gateway, other)
    probe(gateway, key, THRESHOLD)
    gateway.until("call.refused", start, principal="acme/ci-bot")
    wait_for(lambda: len(gateway.records(start, "call.refused")) >= THRESHOLD)
    committed = time.monotonic()
    refused_at = until_contained(gateway, key)
    stream.ended()
    assert refused_at - committed < 1.0
    assert stream.error is not None and stream.at - committed < 1.0

    applied = containment_of(gateway, "acme/ci-bot", start)
    alert = gateway.until("alert.raised", start, subject="acme/ci-bot")
    refusals = [r["index"] for r in gateway.records(start, "call.refused") if r["stage"] == "routing"]
    assert alert["evidence"] == refusals[:THRESHOLD]
    assert applied["alert"] == alert["alert"] and applied["owner"] == "detector:refusal_burst"
    assert applied["until"] == applied["at"] + 60_000
    cut = gateway.until("call.outcome", start, principal="acme/ci-bot", verdict="cut")
    assert cut["final"]
    assert bystander.error is None and not bystander.finished, "nobody else is touched"
    with gateway.client(other) as client:
        assert client.get("/crm/customers/1001").status_code == 200

    gateway.cli("release", applied["containment"], "--reason", "the key was moved")
    for _ in range(8):
        answer = httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200
    time.sleep(0.3)
    assert len(gateway.records(start, "containment.applied")) == 1, "not again from the same evidence"


def test_contained_again_on_new_evidence_and_by_itself_free_when_the_time_is_over(gateway: Cordon) -> None:
    start = gateway.log.size()
    key = gateway.key("repeater")
    probe(gateway, key, THRESHOLD)
    until_contained(gateway, key)
    gateway.cli("release", "acme/repeater")
    probe(gateway, key, THRESHOLD)
    until_contained(gateway, key)
    assert len(gateway.records(start, "containment.applied")) == 2


def test_an_endpoint_contained_by_hand_is_not_called_and_its_streams_are_cut(gateway: Cordon) -> None:
    start = gateway.log.size()
    key = gateway.key("streamer")
    stream = Stream(gateway, key)
    gateway.cli("contain", "openai-eu", "--reason", "drill", "--for", "2s")
    stream.ended()
    assert stream.error is not None
    with openai.OpenAI(base_url=f"{gateway.url}/openai", api_key=key, max_retries=0) as client:
        before = len(gateway.eu.received)
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": "hello"}])
        assert len(gateway.eu.received) == before
        gateway.until("containment.expired", start)
        assert client.chat.completions.create(model=GPT, messages=[{"role": "user", "content": "hello"}])


def test_an_endpoint_that_gets_data_in_bulk_is_contained_and_others_serve_on(gateway: Cordon) -> None:
    start = gateway.log.size()
    addresses = " ".join(f"person{n}@example.com" for n in range(20))
    body = {"model": GPT, "messages": [{"role": "user", "content": f"Write to {addresses}"}]}
    with gateway.client(gateway.key("exporter")) as client:
        answers = [client.post("/openai/chat/completions", json=body).status_code for _ in range(3)]
        assert answers == [200] * 3
        applied = containment_of(gateway, "openai-eu", start)
        alert = gateway.until("alert.raised", start, subject="openai-eu")
        assert alert["count"] == 60 and alert["severity"] == "high" and applied["owner"] == "detector:finding_volume"
        assert alert["evidence"] == [record["index"] for record in gateway.records(start, "call.intent")]
        wait_for(lambda: client.post("/openai/chat/completions", json=body).status_code >= 400)
    with gateway.client(gateway.key("abroad", "globex")) as client:
        asked = {"model": GPT, "messages": [{"role": "user", "content": "hello"}]}
        assert client.post("/openai/chat/completions", json=asked).status_code == 200
    assert gateway.records(start, "call.intent")[-1]["endpoint"] == "openai-us"
    gateway.cli("release", "openai-eu")


def test_p99_from_the_commit_of_the_evidence_to_the_refusal(gateway: Cordon) -> None:
    times = []
    for n in range(12):
        key = gateway.key(f"probe-{n}")
        probe(gateway, key, THRESHOLD)
        committed = time.monotonic()
        times.append(until_contained(gateway, key) - committed)
    assert max(times) < 1.0, sorted(times)


def test_a_containment_outlives_a_restart_of_everything_and_no_longer_than_its_limit() -> None:
    with cordon() as gateway:
        key = gateway.key("ci-bot")
        gateway.cli("contain", "acme/ci-bot", "--reason", "drill", "--for", "8s")
        ends = time.monotonic() + 8
        gateway.stop()
        gateway.start()
        with gateway.client(key) as client:
            if time.monotonic() < ends - 0.2:
                assert client.get("/crm/customers/1001").status_code == 403
            wait_for(lambda: client.get("/crm/customers/1001").status_code == 200, 12)
        assert time.monotonic() >= ends - 0.5
