"""Load by wrk, which is not ours, and what it did to a system."""

from __future__ import annotations

import json
import math
import os
import re
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.systems import ROOT, System

PATIENCE = 60
"""Seconds until an answer that has not come is counted as failed."""


@dataclass(frozen=True)
class Measure:
    """One run, or the medians of several. Times are milliseconds, `cpu` is microseconds a call over all processes."""

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float
    failed: float
    calls: int


def length_for(one: Measure, seconds: int, calls: int, longest: int) -> int:
    """How long a run has to be for so many calls, going by one of `seconds`; at least as long, at most `longest`.

    A fifth is added, since a longer run is not evenly fast. Where nothing came back at all, the longest.
    """
    if one.calls >= calls:
        return seconds
    needed = math.ceil(seconds * 1.2 * calls / one.calls) if one.calls else longest
    return max(seconds, min(longest, needed))


def run(system: System, path: str, connections: int, seconds: int) -> Measure:
    """Load a system for some seconds over this many connections."""
    before = system.cpu_seconds()
    # Unless it is told otherwise, it takes an answer that is 2 s late for a failure.
    times = [f"-d{seconds}s", f"--timeout={PATIENCE}s"]
    command = ["wrk", f"-t{min(2, connections)}", f"-c{connections}", *times, "-s", "bench/chat.lua"]
    url, model = system.target(path)
    stream = str(path.startswith("/stream")).lower()
    environment = os.environ | {"BENCH_KEY": system.key, "BENCH_MODEL": model, "BENCH_STREAM": stream}
    output = subprocess.run(
        [*command, url], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    used = system.cpu_seconds() - before
    result = json.loads(re.findall(r"RESULT (.*)", output)[-1])
    requests = max(1, result["requests"])
    return Measure(
        rate=requests / result["duration"] * 1e6,
        p50=result["p50"] / 1e3,
        p99=result["p99"] / 1e3,
        cpu=used / requests * 1e6,
        memory=sum(system.memory().values()) / 1e6,
        failed=result["failed"],
        calls=result["requests"],
    )


def median(measures: list[Measure]) -> Measure:
    """The median of each figure; calls and failures are added up."""

    def of(name: str) -> float:
        return float(statistics.median(getattr(measure, name) for measure in measures))

    failed = sum(measure.failed for measure in measures)
    calls = sum(measure.calls for measure in measures)
    return Measure(of("rate"), of("p50"), of("p99"), of("cpu"), of("memory"), failed, calls)


def first_byte(system: System, path: str, times: int = 200) -> float:
    """Median time until the first byte of an answer, in milliseconds, one call after the other on one connection."""
    target, model = system.target(path)
    url = urlsplit(target)
    body = b'{"model":"%b","stream":true,"messages":[{"role":"user","content":"hello"}]}' % model.encode()
    lines = [f"POST {url.path} HTTP/1.1", f"host: {url.netloc}", "content-type: application/json"]
    if system.key:
        lines.append(f"authorization: Bearer {system.key}")
    request = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body
    taken: list[float] = []
    with socket.create_connection((url.hostname or "", url.port or 80)) as connection:
        for _ in range(times):
            began = time.perf_counter()
            connection.sendall(request)
            data = connection.recv(65_536)
            taken.append(time.perf_counter() - began)
            while not data.endswith(b"\r\n0\r\n\r\n"):
                data = data[-7:] + connection.recv(65_536)
    return statistics.median(taken) * 1e3
