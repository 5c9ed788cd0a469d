"""The two policy engines side by side: what one decision of the starter bundle takes, alone and many at once.

Usage: python -m bench.policy_engines --url http://127.0.0.1:8181 [--decisions 2000]. The bundle is put into that OPA
server, over the connections that a worker uses. All documents differ, so the embedded engine remembers nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from gateway.policy_server import PolicyServer
from gateway.settings import Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from lineage.metrics import Meter
from policies import samples
from policies.engine import Moment, PolicyEngine
from policies.opa.source import OpaSource
from policies.reloading import Reloader
from policies.settings import Policy


async def measure(engine: PolicyEngine, documents: Sequence[bytes], at_once: int) -> tuple[float, float, float, float]:
    """Median and 99th percentile in µs, decisions a second, and µs of this process's processor time for each."""
    taken: list[float] = []
    waiting = iter(documents)

    async def caller() -> None:
        for document in waiting:
            began = time.perf_counter()
            await engine.decide(Moment.REQUEST, document)
            taken.append((time.perf_counter() - began) * 1e6)

    began, busy = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    whole, busy = time.perf_counter() - began, time.process_time() - busy
    taken.sort()
    count = len(taken)
    return taken[count // 2], taken[count * 99 // 100], count / whole, busy / count * 1e6


async def run(url: str, decisions: int, directory: Path) -> None:
    """Measure both and print a table."""
    directory.chmod(0o700)
    embedded = Reloader(Policy(), directory, on_loaded=lambda _: None, on_rejected=print)
    await embedded.start()
    sweep = Sweep()
    pool = UpstreamPool(Limits(), sweep)
    settings = Policy(engine="opa", url=url, deadline_ms=10_000)
    opa = OpaSource(
        settings, directory, PolicyServer(settings, pool), Meter("bench"), on_loaded=lambda _: None, on_rejected=print,
        on_server=print,
    )  # fmt: skip
    await opa.start()
    print("engine    at once  median µs   p99 µs  decisions/s  own CPU µs")
    number = 0
    engines: dict[str, PolicyEngine] = {"embedded": embedded.engine, "opa": opa.engine}
    for name, engine in engines.items():
        for at_once in (1, 32):
            documents = []
            for _ in range(decisions):
                number += 1
                document = samples.request(1)
                document["call"] = {"id": str(number), "attempt": 1, "method": "POST", "operation": f"chat{number}"}
                documents.append(json.dumps(document).encode())
            await measure(engine, documents[: decisions // 10], at_once)
            median, late, speed, busy = await measure(engine, documents[decisions // 10 :], at_once)
            print(f"{name:9} {at_once:7} {median:10.0f} {late:8.0f} {speed:12.0f} {busy:11.0f}")
    await pool.close()
    sweep.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.policy_engines", description=__doc__)
    parser.add_argument("--url", required=True, help="an OPA server that may be written to")
    parser.add_argument("--decisions", type=int, default=2_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as name:
        uvloop.run(run(options.url, options.decisions, Path(name)))


if __name__ == "__main__":
    main()
