"""What is measured: each system is started on free ports before one upstream, and stopped again.

A further system is one more class like these: give it a name, start its processes in `start` and, where they differ,
say in `target` under which URL and model the upstream's `/v1/chat/completions` and `/stream/chat/completions` are
reached through it. Those of others are in `bench/peers`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
_STOP_SECONDS = 20.0
MODEL = "bench-1"
"""The model that the load asks for, and that policies grant."""


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class System:
    """One thing to measure. `workers` is the number of its worker processes, `key` what its callers must show."""

    name = ""
    key = ""
    refuses: frozenset[str] = frozenset()
    """What it must refuse: a wrong `key`, a `model` that is not granted, a `secret` in the body."""
    traces = 0
    """How many records or log lines a good call leaves, at least."""
    start_seconds = 30.0

    def __init__(self, directory: Path, workers: int) -> None:
        self.directory = directory
        self.workers = workers
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """The base URL before those paths."""
        return f"http://127.0.0.1:{self.port}"

    @staticmethod
    def lacks() -> str:
        """Why it cannot be had on this machine; empty if it can."""
        return ""

    def target(self, path: str) -> tuple[str, str]:
        """The URL and the model under which a path of the upstream is reached."""
        return self.url + path, MODEL

    def evidence(self) -> int | None:
        """How many records or log lines it has written so far; None where it keeps none."""
        return None

    def start(self, upstream: int) -> None:
        """Start it before the upstream on this port of loopback; returns when it accepts connections."""
        raise NotImplementedError

    def stop(self) -> None:
        """End its processes and theirs."""
        children = set(self.pids()) - {process.pid for process in self._processes}
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def run(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Start one process of it and wait until its port takes connections."""

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        self.run_until(listens, *command, environment=environment)

    def run_until(self, ready: Callable[[], bool], *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Start one process of it with `environment` beside this process's own, and wait until it is ready."""
        log = self.directory / f"{type(self).__name__}-{len(self._processes)}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=errors, stderr=errors
            )
        self._processes.append(process)
        deadline = time.monotonic() + self.start_seconds
        while time.monotonic() < deadline and process.poll() is None:
            if ready():
                return
            time.sleep(0.05)
        told = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self.name} did not start within {self.start_seconds:.0f} s; it said: {told}")

    def pids(self) -> list[int]:
        """Its processes and theirs."""
        found: list[int] = []
        for process in self._processes:
            found += _descendants(process.pid)
        return found

    def cpu_seconds(self) -> float:
        """Processor time that its processes have used so far."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict[str, int]:
        """Bytes that each of its processes holds (shared pages divided among their holders), by name and process id."""
        return {f"{_process_name(pid)} ({pid})": _proportional_bytes(pid) for pid in self.pids()}


class Direct(System):
    """No proxy: the load generator calls the upstream."""

    name = "direct to the upstream"

    def start(self, upstream: int) -> None:
        self.port = upstream


class Nginx(System):
    """nginx as a plain proxy."""

    name = "nginx, plain proxy"

    def start(self, upstream: int) -> None:
        folder = self.directory / "nginx"
        folder.mkdir()
        folder.chmod(0o777)
        template = string.Template((ROOT / "bench/nginx.conf.template").read_text())
        config = folder / "nginx.conf"
        config.write_text(
            template.substitute(workers=self.workers, directory=folder, port=self.port, upstream_port=upstream)
        )
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.run(program, "-e", str(folder / "error.log"), "-c", str(config))


class PlainProxy(System):
    """The gateway's listener and upstream parts without identity, policy or record."""

    name = "Cordon's protocols, plain proxy"

    def start(self, upstream: int) -> None:
        url = f"http://127.0.0.1:{upstream}"
        self.run(sys.executable, "-m", "bench.plain_proxy", str(self.port), url, str(self.workers))


class Upstream(System):
    """The stand-in that all of them call."""

    name = "upstream"

    def start(self, upstream: int) -> None:
        self.run(sys.executable, "-m", "bench.upstream", str(self.port), str(self.workers))


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in _descendants(int(child)))]


def _proportional_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _process_name(pid: int) -> str:
    """What a process is: the role and slot of one of Cordon's, the program's name of any other."""
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    if "cordon.process" in arguments:
        at = arguments.index("cordon.process")
        return "-".join([arguments[at + 1], arguments[arguments.index("--slot") + 1]])
    return "supervisor" if "cordon.cli" in arguments else Path(arguments[0]).name
