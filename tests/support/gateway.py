"""A whole Cordon for tests: real processes on a data directory of its own, stand-ins as upstreams, and its log to read.

with cordon() as running:
    key = running.key("ci-bot")
    answer = httpx.get(f"{running.url}/crm/customers/1001", headers={"authorization": f"Bearer {key}"})
    with running.recording() as records: …      # what the log gained in between
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
import yaml

from cordon import cli
from lineage.reader import LogReader, open_reader
from tests.support.upstream import Upstream, upstream

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "policies/bundles/starter"
START_SECONDS = 60.0
STOP_SECONDS = 30.0

Record = dict[str, Any]
T = TypeVar("T")


def _own_ports() -> Iterator[int]:
    """Ports, over and over, that no other test process on this machine is given: a socket's name reserves them."""
    for first in range(12_500, 32_500, 500):
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0cordon-test-ports-{first}")
        except OSError:
            reservation.close()
            continue
        with reservation:
            yield from itertools.cycle(range(first, first + 500))
    raise AssertionError("too many test processes run on this machine")


_PORTS = _own_ports()


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens on now, and that no test running beside is given: gateways share theirs."""
    found: list[int] = []
    while len(found) < count:
        port = next(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def configuration(ports: Sequence[int], eu: Upstream, us: Upstream) -> dict[str, Any]:
    """Two tenants and four routes, whose EU and US endpoints are two stand-ins."""

    def endpoint(name: str, url: str, jurisdiction: str) -> dict[str, str]:
        return {"id": name, "url": url, "jurisdiction": jurisdiction, "region": f"{jurisdiction.lower()}-1"}

    return {
        "data_dir": "var",
        "gateway": {"listen": f"127.0.0.1:{ports[0]}", "workers": 1, "limits": {"drain_time": 5}},
        "control": {"listen": f"127.0.0.1:{ports[1]}"},
        "policy": {"bundle": str(BUNDLE)},
        "detection": {"refusal_burst": {"threshold": 10, "window_seconds": 60, "quiet_seconds": 0}},
        "tenants": [{"id": "acme", "residency": ["EU"]}, {"id": "globex", "residency": ["EU", "US"]}],
        "routes": [
            {
                "id": "openai", "prefix": "/openai", "kind": "model", "dialect": "openai",
                "endpoints": [endpoint("openai-eu", f"{eu.url}/v1", "EU"), endpoint("openai-us", f"{us.url}/v1", "US")],
            },
            {
                "id": "anthropic", "prefix": "/anthropic", "kind": "model", "dialect": "anthropic",
                "endpoints": [endpoint("anthropic-us", us.url, "US")],
            },
            {
                "id": "crm", "prefix": "/crm", "kind": "http",
                "endpoints": [endpoint("crm-eu", f"{eu.url}/crm", "EU")],
            },
            {
                "id": "payments", "prefix": "/payments", "kind": "http", "risk": "high",
                "endpoints": [endpoint("payments-eu", f"{eu.url}/payments", "EU")],
            },
        ],
    }  # fmt: skip


class Cordon:
    """One running Cordon. `eu` and `us` are its upstreams, `directory` holds its configuration and data."""

    def __init__(self, directory: Path, config: Mapping[str, Any], eu: Upstream, us: Upstream) -> None:
        self.directory = directory
        self.file = directory / "cordon.yaml"
        self.data_dir = directory / "var"
        self.database = str(config.get("database", ""))
        self.eu, self.us = eu, us
        scheme = "https" if config["gateway"].get("tls") else "http"
        self.url = f"{scheme}://{config['gateway']['listen']}"
        self.control_url = f"http://{config['control']['listen']}"
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: LogReader | None = None
        self.file.write_text(yaml.safe_dump(dict(config)))

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def errors(self) -> str:
        """What the processes wrote to their standard error so far."""
        return (self.directory / "stderr").read_text("utf-8", "replace")

    def start(self, command: str = "up") -> None:
        """Start it and wait until every part works."""
        arguments = [sys.executable, "-m", "cordon.cli", command, "-c", str(self.file), "--json"]
        with open(self.directory / "stderr", "ab") as errors:
            self._process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        if not readable or not self._process.stdout.readline():
            self._process.kill()
            raise AssertionError(f"cordon {command} did not start ({self._process.wait()}):\n{self.errors}")

    def stop(self) -> int:
        """Let it drain; the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
        return code

    def close(self) -> None:
        """Stop and let go of the log."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.stop()

    def cli(self, *arguments: str) -> Any:
        """Run a command of the command line with --json; what it printed."""
        return self._cli(arguments, 0)

    def cli_at_fault(self, *arguments: str) -> Any:
        """The same of a command that finds something wrong."""
        return self._cli(arguments, 1)

    def cli_fails(self, said: str, *arguments: str) -> None:
        """Run a command that cannot do what it is told, and says `said`."""
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            code = cli.run([*arguments, "-c", str(self.file)])
        assert code == 1 and said in errors.getvalue(), f"{code}: {errors.getvalue()}"

    def _cli(self, arguments: Sequence[str], expected: int) -> Any:
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            code = cli.run([*arguments, "-c", str(self.file), "--json"])
        assert code == expected, f"cordon {' '.join(arguments)} ended with {code}: {output.getvalue()}"
        return json.loads(output.getvalue())

    def key(self, name: str, tenant: str = "acme", *roles: str) -> str:
        """A new key for the principal `tenant/name`."""
        options = [part for role in roles for part in ("--role", role)]
        return str(self.cli("key", "create", name, "--tenant", tenant, *options)["key"])

    def knows(self, key: str) -> None:
        """Wait until this node has heard of a key that another node of the same log made."""
        with self.client(key) as client:
            wait_for(lambda: client.get("/crm/customers/1001").status_code != 401)

    def client(self, key: str, **options: Any) -> httpx.Client:
        """A plain HTTP client of the gateway that shows `key`."""
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {key}"}, **options)

    @property
    def log(self) -> LogReader:
        """The log, read only."""
        if self._reader is None:
            self._reader = open_reader(self.data_dir, self.database)
        return self._reader

    def records(self, start: int = 0, *kinds: str) -> list[Record]:
        """The records from index `start` on, of these kinds where any are named, each with its `index`."""
        found: list[Record] = []
        while batch := self.log.read(start, 1_000):
            start = batch[-1][0] + 1
            found += [{"index": index, **orjson.loads(record)} for index, record in batch]
        return [record for record in found if not kinds or record["kind"] in kinds]

    def of_call(self, call: str, count: int = 2) -> list[Record]:
        """The records of one call, as soon as there are `count` of them."""

        def find() -> list[Record] | None:
            found = [record for record in self.records() if record.get("call") == call]
            return found if len(found) >= count else None

        return wait_for(find)

    def until(self, kind: str, start: int = 0, seconds: float = 10.0, **facts: object) -> Record:
        """The first record of `kind` from `start` on with these facts, as soon as it is there."""

        def find() -> Record | None:
            return next((r for r in self.records(start, kind) if facts.items() <= r.items()), None)

        return wait_for(find, seconds)

    def processes(self) -> dict[str, int]:
        """The process id of each part that runs now, by name such as gateway-0."""
        return dict(_children(self.pid))

    def kill(self, name: str) -> int:
        """End a part as SIGKILL does; the process id that it had."""
        pid = self.processes()[name]
        os.kill(pid, signal.SIGKILL)
        return pid

    def killed(self, name: str) -> bool:
        """End a part as SIGKILL does if it runs at this moment; whether it did."""
        pid = self.processes().get(name)
        if pid is None:
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    def restarted(self, name: str, old: int, seconds: float = 20.0) -> None:
        """Wait until another process than `old` plays the part `name`."""
        wait_for(lambda: self.processes().get(name, old) != old, seconds)


def _children(parent: int) -> Iterator[tuple[str, int]]:
    """The supervisor's children by the command line that it gives them (see cordon.child.own_command)."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) != parent:
                continue
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            if "cordon.process" in words:
                role = words[words.index("cordon.process") + 1]
                yield f"{role}-{words[words.index('--slot') + 1]}", int(entry.name)


def wait_for(find: Callable[[], T | None], seconds: float = 10.0) -> T:
    """What `find` yields as soon as it is neither None nor false."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.005)
    return found


@contextmanager
def cordon(change: Callable[[dict[str, Any]], None] | None = None, *, start: bool = True) -> Iterator[Cordon]:
    """A running Cordon for the length of the block; `change` may alter its configuration before."""
    directory = Path(tempfile.mkdtemp(prefix="cordon-"))
    try:
        with upstream() as eu, upstream() as us:
            config = configuration(free_ports(2), eu, us)
            if change is not None:
                change(config)
            running = Cordon(directory, config, eu, us)
            try:
                if start:
                    running.start()
                yield running
            finally:
                running.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
