"""What is measured: each system is started on free ports before one upstream, and stopped again.

A further system is one more class here: give it a name, start its processes in `start` and say under which URL the
upstream's `/v1/chat/completions` and `/stream/chat/completions` are reached through it.
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
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
_START_SECONDS = 30.0


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

    def __init__(self, directory: Path, workers: int) -> None:
        self.directory = directory
        self.workers = workers
        self.port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """The base URL before those paths."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, upstream: int) -> None:
        """Start it before the upstream on this port of loopback; returns when it accepts connections."""
        raise NotImplementedError

    def stop(self) -> None:
        """End its processes and theirs."""
        children = set(self.pids()) - {process.pid for process in self._processes}
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def run(self, *command: str) -> None:
        """Start one process of it and wait until its port takes connections."""
        log = self.directory / f"{type(self).__name__}.log"
        with log.open("wb") as errors:
            self._processes.append(subprocess.Popen(command, cwd=ROOT, stdout=errors, stderr=errors))
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen on port {self.port}; see {log}")

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

    def resident_bytes(self) -> int:
        """Memory that its processes hold, shared pages counted once each."""
        total = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        return total


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
