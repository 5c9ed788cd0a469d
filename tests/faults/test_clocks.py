"""The wall clock of every process is set forwards and backwards: limits hold, streams go on, the log verifies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.gateway import Cordon, cordon, wait_for
from tests.support.shim import Shim, shimmed

HOUR = 3_600.0
HOLD_SECONDS = 4


@pytest.fixture(scope="module")
def shim() -> Iterator[Shim]:
    with shimmed() as told:
        yield told


def brief(config: dict[str, Any]) -> None:
    config["gateway"]["limits"].update(answer_idle_time=3, idle_time=60)


@pytest.fixture(scope="module")
def gateway(shim: Shim) -> Iterator[Cordon]:
    with cordon(brief) as running:
        yield running


@pytest.fixture(autouse=True)
def true_time(shim: Shim) -> Iterator[None]:
    shim.jump(0)
    yield
    shim.jump(0)


def status(gateway: Cordon, key: str) -> int:
    return httpx.get(f"{gateway.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"}).status_code


@pytest.mark.parametrize("hours", [1, -1])
def test_a_containment_lasts_as_long_as_it_was_said(gateway: Cordon, shim: Shim, hours: int) -> None:
    """Ahead, it is not lifted early; back, it is not kept for an hour more."""
    name = f"bot{hours}"
    key = gateway.key(name)
    start = gateway.log.size()
    assert status(gateway, key) == 200
    began = time.monotonic()
    gateway.cli("contain", f"acme/{name}", "--for", f"{HOLD_SECONDS}s", "--reason", "a drill")
    shim.jump(hours * HOUR)
    while time.monotonic() - began < HOLD_SECONDS - 1:
        assert status(gateway, key) == 403
        time.sleep(0.1)
    assert gateway.records(start, "containment.expired") == []
    wait_for(lambda: status(gateway, key) == 200, 4)
    assert time.monotonic() - began >= HOLD_SECONDS - 0.1
    gateway.until("containment.expired", start, seconds=4)
    assert gateway.cli("log", "verify")["wrong"] == 0


def test_a_key_that_has_expired_stays_expired(gateway: Cordon, shim: Shim) -> None:
    short = str(gateway.cli("key", "create", "short", "--tenant", "acme", "--expires", "3s")["key"])
    assert status(gateway, short) == 200
    shim.jump(HOUR)
    assert status(gateway, short) == 401
    shim.jump(0)
    wait_for(lambda: status(gateway, short) == 401, 5)
    shim.jump(-HOUR)
    for _ in range(5):
        assert status(gateway, short) == 401, "a clock that is set back revives no key"


def test_streams_checkpoints_and_detection_go_on(gateway: Cordon, shim: Shim) -> None:
    key, thief = gateway.key("reader"), gateway.key("thief")
    start = gateway.log.size()
    asked = {"role": "user", "content": "standin:words=200 standin:slow=10"}
    body = {"model": "gpt-4.1-mini", "messages": [asked], "stream": True}
    with gateway.client(key) as client, client.stream("POST", "/openai/chat/completions", json=body) as answer:
        pieces = answer.iter_text()
        next(pieces)
        shim.jump(24 * HOUR)
        next(pieces)
        shim.jump(-24 * HOUR)
        assert "data: [DONE]" in "".join(pieces), "a stream that flows is not cut"
    stalled = {**body, "messages": [{"role": "user", "content": "standin:stall"}]}
    began = time.monotonic()
    with gateway.client(key, timeout=20) as client:
        try:
            text = client.post("/openai/chat/completions", json=stalled).text
        except httpx.RemoteProtocolError:
            text = ""
    assert "data: [DONE]" not in text
    assert 2 < time.monotonic() - began < 8, "a stream that stalls is cut by its time, not by the clock"
    for attempt in range(12):
        shim.jump((attempt % 3 - 1) * 24 * HOUR if attempt < 4 else -24 * HOUR)
        httpx.get(f"{gateway.url}/hr/salaries", headers={"authorization": f"Bearer {thief}"})
    gateway.until("containment.applied", start, target="acme/thief")
    wait_for(lambda: status(gateway, thief) == 403, 3)
    size = gateway.log.size()
    wait_for(lambda: gateway.log.checkpoint_size() >= size, 4)
    assert gateway.cli("log", "verify")["wrong"] == 0
    assert {"writer-0", "gateway-0", "soc-0", "control-0"} <= set(gateway.processes())
    assert httpx.get(f"{gateway.control_url}/readyz").status_code == 200
