"""Shows that a system does its work before it is measured: a proxy that lets everything through is fast."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request

from bench.systems import System

PATHS = ("/v1/chat/completions", "/stream/chat/completions")
_CALLS = 5
_SECRET = "sk-proj-" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7dE9fG1hJ3"
_SECONDS = 120.0


def check(system: System) -> None:
    """Raise a RuntimeError where a call is not answered, one passes that must be refused, or one leaves no trace."""
    before = system.evidence()
    for _ in range(_CALLS):
        _expect_answer(system)
        _expect_stream(system)
    _expect_refusals(system)
    if before is not None:
        _expect_growth(system, before)


def _expect_answer(system: System) -> None:
    status, body = _call(system, PATHS[0])
    if status != 200 or b"sphinx of black quartz" not in body:
        raise RuntimeError(f"{system.name} answered {status} to a good call: {body[:500]!r}")


def _expect_stream(system: System) -> None:
    status, body = _call(system, PATHS[1])
    if status != 200 or body.count(b"data: ") < 19 or not body.rstrip().endswith(b"data: [DONE]"):
        raise RuntimeError(f"{system.name} answered {status} to a good call of a stream: {body[-500:]!r}")


def _expect_refusals(system: System) -> None:
    bad = {
        "key": lambda: _call(system, PATHS[0], key="not-" + system.key),
        "model": lambda: _call(system, PATHS[0], model="not-granted-1"),
        "secret": lambda: _call(system, PATHS[0], text=f"my key is {_SECRET}"),
    }
    for what in sorted(system.refuses):
        status, body = bad[what]()
        if not 400 <= status < 500:
            raise RuntimeError(f"{system.name} answered {status} to a call with a bad {what}: {body[:200]!r}")


def _expect_growth(system: System, before: int) -> None:
    """Each good call leaves one log line or two records at least; they may come a moment after the answer."""
    deadline = time.monotonic() + 10
    while (now := system.evidence()) is not None and now - before < system.traces * 2 * _CALLS:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{system.name} wrote {now - before} records of {2 * _CALLS} calls")
        time.sleep(0.1)


def _call(system: System, path: str, *, key: str = "", model: str = "", text: str = "hello") -> tuple[int, bytes]:
    url, granted = system.target(path)
    body = {
        "model": model or granted,
        "stream": path.startswith("/stream"),
        "messages": [{"role": "user", "content": text}],
    }
    headers = {"content-type": "application/json"}
    if system.key:
        headers["authorization"] = f"Bearer {key or system.key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
