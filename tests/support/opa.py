"""Real OPA servers for tests, a nonsense one, and engines that ask them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx

from gateway.policy_server import PolicyServer
from gateway.settings import Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from lineage.metrics import Meter
from policies.bundle import load_bundle
from policies.engine import Moment
from policies.errors import Problem
from policies.opa.push import Pusher
from policies.opa.server import Server
from policies.opa.source import OpaSource
from policies.settings import Policy
from tests.support.gateway import free_ports
from tests.support.policies import MINIMAL, write
from tests.support.servers import require_binary

START_SECONDS = 20.0


class OpaServer:
    """One OPA process on a port that it keeps when it is started again."""

    def __init__(self, *arguments: str, scheme: str = "http", ca: Path | None = None) -> None:
        self.port = free_ports(1)[0]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._verify: Any = str(ca) if ca else True

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        options = ["--skip-version-check", "--log-level=error", f"--addr=127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            [str(require_binary("opa")), "run", "--server", *options, *self._arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return
            time.sleep(0.02)
        raise AssertionError(f"OPA did not start on port {self.port}")

    def kill(self) -> None:
        """End it at once, without a farewell to its connections."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freeze it: connections stand, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Thaw it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def modules(self) -> dict[str, str]:
        """What it holds, as an operator sees it."""
        listed = httpx.get(f"{self.url}/v1/policies", verify=self._verify).json()["result"]
        return {each["id"]: each["raw"] for each in listed}

    def data(self, key: str) -> Any:
        """A value of its data, None where there is none."""
        return httpx.get(f"{self.url}/v1/data/{key}", verify=self._verify).json().get("result")


@contextmanager
def opa_server(*arguments: str, **options: Any) -> Iterator[OpaServer]:
    """A running OPA that holds nothing, or what the arguments have it load."""
    server = OpaServer(*arguments, **options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Asked:
    """A policy source over an OPA server, and what it told."""

    def __init__(self, settings: Policy, run_dir: Path, pool: UpstreamPool) -> None:
        self.meter = Meter("test")
        self.pool = pool
        self.loaded: list[str] = []
        self.rejected: list[Sequence[Problem]] = []
        self.server: list[str] = []
        self.source = OpaSource(
            settings,
            run_dir,
            PolicyServer(settings, pool),
            self.meter,
            on_loaded=lambda engine: self.loaded.append(engine.revision),
            on_rejected=self.rejected.append,
            on_server=lambda reason, _: self.server.append(reason),
        )

    async def allows(self, document: bytes = b"{}") -> bool:
        """Whether the engine in force allows this request."""
        return (await self.source.engine.decide(Moment.REQUEST, document)).allow

    async def until(self, what: Callable[[], bool | Awaitable[bool]], seconds: float = 15.0) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(seconds):
            while True:
                found = what()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.02)

    def errors(self, reason: str) -> float:
        """How often there was no answer for this reason."""
        return self.meter.counter("cordon_policy_server_errors_total", reason).value


@asynccontextmanager
async def asking(url: str, folder: Path, run_dir: Path, *, watch: bool = True, **options: Any) -> AsyncIterator[Asked]:
    """A source that is started and, with `watch`, looks at folder and server."""
    settings = Policy(engine="opa", url=url, bundle=folder, **{"reload_seconds": 0.05, **options})
    sweep = Sweep()
    pool = UpstreamPool(Limits(), sweep)
    asked = Asked(settings, run_dir, pool)
    running: asyncio.Task[None] | None = None
    try:
        await asked.source.start()
        running = asyncio.create_task(asked.source.run()) if watch else None
        yield asked
        assert running is None or not running.done(), running
    finally:
        if running is not None:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        await pool.close()
        sweep.close()


async def push(settings: Policy) -> None:
    """Put the configured bundle into the server, as a worker does."""
    assert isinstance(settings.bundle, Path)
    sweep = Sweep()
    pool = UpstreamPool(Limits(), sweep)
    await Pusher(settings, Server(PolicyServer(settings, pool))).push(load_bundle(settings.bundle))
    await pool.close()
    sweep.close()


class Elsewhere:
    """An engine that lives in an event loop of its own, for tests that have none that lasts."""

    def __init__(self, settings: Policy, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._context = asking(settings.url, folder, folder.parent / "run", watch=False, deadline_ms=5_000)
        self._engine = self._run(self._context.__aenter__()).source.engine

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def decide(self, moment: Any, document: bytes) -> Any:
        """Decide over there."""
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._engine.decide(moment, document), self._loop)
        )

    def close(self) -> None:
        """End the loop and its thread."""
        self._run(self._context.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def bundle_folder(place: Path, files: Mapping[str, str] | None = None, **modules: str) -> Path:
    """A bundle's folder: the minimal one with these modules in place of its own, or just `files`."""
    return write(place, files if files is not None else MINIMAL | {f"{n}.rego": text for n, text in modules.items()})
