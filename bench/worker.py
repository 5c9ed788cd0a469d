"""The worker alone: what a call costs in one process, without sockets, disk or other processes beside it.

Everything of a call is real but its two ends: a client that repeats one request, an upstream that repeats one answer,
and a log writer that acknowledges at the end of the turn. So the figure is the interpreter's work for one call, and it
can be profiled. A stream's events come one a read, as a model says them, or several, as a busy gateway reads them.
Usage: python -m bench.worker [--calls 8000] [--at-once 32] [--stream [--per-read 1]] [--profile]
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import hashlib
import pstats
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from bench import upstream
from bench.full import TENANT, Everything
from cordon.config import load
from gateway.budget import Budget
from gateway.call import Services, Setup, Steps
from gateway.connection import Connection
from gateway.content.patterns import PatternScanner
from gateway.counted import UnknownCallers
from gateway.flow import Gateway
from gateway.kept import KeptInputs
from gateway.listener import Listener
from gateway.routing import Health
from gateway.secrets import TenantSecrets
from gateway.sweep import Sweep
from gateway.tokens import TokenService
from gateway.upstream import UpstreamPool
from gateway.upstream_connection import UpstreamConnection
from lineage import wire
from lineage.client import LogClient, _Link
from lineage.control import ApiKey, ControlState
from lineage.metrics import Meter
from lineage.side import TenantKeys
from lineage.sqlite_side import SqliteSide
from lineage.tokens import TokenStore
from policies.reloading import Reloader
from policies.rollouts import Rollouts

KEY = b"cordon_bench"
_WORDS = "please read this paragraph and say in plain words what it means "


class Wire(asyncio.Transport):
    """A transport whose other end is a function that is told what was written in a turn, at its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, other: Any) -> None:
        super().__init__()
        self._loop = loop
        self._other = other
        self._written: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._written:
            self._loop.call_soon(self._tell)
        self._written.append(bytes(data))

    def _tell(self) -> None:
        data = b"".join(self._written)
        self._written.clear()
        self._other(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        """Nothing to give up."""

    def close(self) -> None:
        """Nothing to close."""

    def pause_reading(self) -> None:
        raise RuntimeError("the measurement does not fill buffers")


class Writer:
    """Acknowledges appends in order, as the log writer does."""

    def __init__(self, client: LogClient) -> None:
        self._decoder = wire.Decoder(wire.MAX_TO_WRITER)
        self._sequence = self._index = 0
        link = client._link = _Link(client, 0)
        link.transport = Wire(asyncio.get_running_loop(), self._hear)
        self._link = link

    def _hear(self, data: bytes) -> None:
        count = len(self._decoder.feed(data))
        self._link.data_received(wire.ack(self._sequence, count, self._index))
        self._sequence += count
        self._index += count


class Client:
    """One connection with a call after the other on it."""

    def __init__(self, listener: Listener, request: bytes, calls: int) -> None:
        self._request = request
        self._left = calls
        self._connection = Connection(listener)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection.connection_made(Wire(asyncio.get_running_loop(), self._hear))

    def begin(self) -> None:
        self._connection.data_received(self._request)

    def _hear(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200 "):
            self.done.set_exception(RuntimeError(f"a call failed: {data.decode()}"))
            return
        if data[-5:] != b"0\r\n\r\n" and b"content-length" not in data:
            return
        self._left -= 1
        if self._left:
            self.begin()
        else:
            self.done.set_result(None)


async def _upstream(pool: UpstreamPool, listener: Listener, gateway: Gateway, turns: list[bytes], count: int) -> None:
    """Fill the pool with open connections."""
    endpoint = gateway.setup.routes.find("", "/v1/x")[0].endpoints[0]  # type: ignore[index]
    peer = pool._peer(endpoint)
    loop = asyncio.get_running_loop()
    for _ in range(count):
        connection = UpstreamConnection(pool, peer)

        def answer(_: bytes, connection: UpstreamConnection = connection, at: int = 0) -> None:
            connection.data_received(turns[at])
            if at + 1 < len(turns):
                loop.call_soon(answer, b"", connection, at + 1)

        connection.connection_made(Wire(loop, answer))
        pool._connections.add(connection)
        pool._idle += 1
        peer.idle.append(connection)


def _turns(per_read: int) -> list[bytes]:
    """What the upstream sends in each turn: `per_read` events of its stream, or its whole answer (0)."""
    if not per_read:
        return [upstream._WHOLE_ANSWER]
    turns = upstream._TURNS
    return [b"".join(turns[start : start + per_read]) for start in range(0, len(turns), per_read)]


async def run(directory: Path, calls: int, at_once: int, per_read: int, profile: bool) -> float:
    """Microseconds of processor time a call."""
    everything = Everything(directory, 1)
    config = load(everything.write(1))
    loop = asyncio.get_running_loop()
    log = LogClient(directory / "none", None, None, 10.0)
    key = ApiKey("k1", hashlib.sha256(KEY).hexdigest(), "bench", TENANT, (), "caller", None)
    log.control = ControlState(keys={key.digest: key})
    log.connected = True
    Writer(log)
    run_dir = directory / "run"
    run_dir.mkdir(mode=0o700)
    reloader = Reloader(config.policy, run_dir, on_loaded=lambda _: None, on_rejected=print)
    await reloader.start()
    limits = config.gateway.limits
    sweep = Sweep()
    pool = UpstreamPool(limits, sweep)
    meter = Meter("bench")
    side = SqliteSide(directory / "side.db")
    rollouts = Rollouts(
        reloader,
        config.policy,
        run_dir,
        lambda _: None,
        meter,
        on_loaded=lambda *_: None,
        on_rejected=print,
    )
    secrets = TenantSecrets(TenantKeys(side, b"m" * 32))
    tokens = TokenStore(directory / "side.db", most=config.gateway.tokens.per_principal)
    services = Services(
        boot="B" * 26,
        log=log,
        policy=rollouts,
        pool=pool,
        scanner=PatternScanner(),
        secrets=secrets,
        meter=meter,
        steps=Steps(meter),
        health=Health(),
        budget=Budget(limits.buffered),
        unknown=UnknownCallers("B" * 26),
        kept=KeptInputs(lambda: log.generation),
        tokens=TokenService(tokens, meter, config.gateway.tokens),
    )
    gateway = Gateway(services, Setup.of(config.routes, config.tenants, limits))
    listener = Listener(gateway, limits, sweep, services.budget)
    await _upstream(pool, listener, gateway, _turns(per_read), at_once)
    head = '{"model":"bench-1","stream":false,"messages":[{"role":"user","content":"'
    body = head + (_WORDS * 20)[: 996 - len(head) - 4] + '"}]}'
    lines = [
        "POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1:8080", "accept: application/json",
        "user-agent: bench/1.0", "authorization: Bearer " + KEY.decode(), "content-type: application/json",
        f"Content-Length: {len(body)}", "", body,
    ]  # fmt: skip
    request = "\r\n".join(lines).encode()
    profiler = cProfile.Profile()
    best = float("inf")
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    for number in range(5):
        clients = [Client(listener, request, calls // at_once) for _ in range(at_once)]
        if profile and number == 4:
            profiler.enable()
        began = time.process_time()
        for client in clients:
            loop.call_soon(client.begin)
        await asyncio.gather(*(client.done for client in clients))
        best = min(best, (time.process_time() - began) / (calls // at_once * at_once))
    profiler.disable()
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(60)
    sweep.close()
    return best * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.worker", description=__doc__)
    parser.add_argument("--calls", type=int, default=8_000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--per-read", type=int, default=1, help="events of a stream that come together")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    per_read = max(1, options.per_read) if options.stream else 0
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as name:
        taken = uvloop.run(run(Path(name), options.calls, options.at_once, per_read, options.profile))
    print(f"{taken:.1f} µs a call")


if __name__ == "__main__":
    main()
