"""The Cordon that the demonstration plays against: real processes on a directory of its own."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import orjson
import yaml

from cordon.acting import actor, stamp
from cordon.config import Config, load
from cordon.demo.clients import request
from cordon.errors import SupervisorError
from lineage.actions import create_key, release_containment
from lineage.local import open_log
from lineage.reader import LogReader, open_reader
from lineage.record import encode

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
LONGEST_SOCKET: Final = 90
"""A Unix socket's path has some 100 bytes at most; a longer directory is replaced by a temporary one."""
MARK: Final = ".cordon-demo"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of the callers: two of acme, whose data must stay in the EU, and one of globex, which may use the US too."""

    support: str
    ci_bot: str
    analyst: str


class Stage:
    """What the scenes need of the running Cordon; `file` is its configuration."""

    def __init__(self, file: Path, config: Config, reader: LogReader) -> None:
        self.file = file
        self.config = config
        self.reader = reader
        self.url = f"http://{config.gateway.listen}"

    def keys(self) -> Keys:
        """A key for each of the callers."""
        return Keys(self.key("support-bot", "acme"), self.key("ci-bot", "acme"), self.key("analyst", "globex"))

    def key(self, name: str, tenant: str) -> str:
        """A new key for `tenant/name`."""
        text, record = create_key(stamp(), name=name, tenant=tenant, by=actor())
        with open_log(self.config.data_dir, self.config.lineage, self.config.database) as log:
            log.append(encode(record))
        return text

    def release(self, target: str) -> int:
        """Release what holds `target`, as `cordon release` does; how many containments that were."""
        with open_log(self.config.data_dir, self.config.lineage, self.config.database) as log:
            known = log.control.containments
            held = [containment.id for containment in known.values() if containment.target == target]
            for name in held:
                reason = "the owner has changed the key's place"
                record = release_containment(stamp(), containment=name, by=actor(), reason=reason, known=known)
                log.append(encode(record))
        return len(held)

    def size(self) -> int:
        """How many records the log has."""
        return self.reader.size()

    def records(self, start: int = 0, *kinds: str) -> list[Record]:
        """The records from `start` on, of these kinds where any are named, each with its `index`."""
        found: list[Record] = []
        while batch := self.reader.read(start, 1_000):
            start = batch[-1][0] + 1
            found += [{"index": index, **orjson.loads(record)} for index, record in batch]
        return [record for record in found if not kinds or record["kind"] in kinds]

    def awaited(self, start: int, kind: str, seconds: float = 5.0, **facts: object) -> Record | None:
        """The first record of `kind` from `start` on with these facts, as soon as it is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for record in self.records(start, kind):
                if facts.items() <= record.items():
                    return record
            time.sleep(0.01)
        return None

    def upstream_received(self) -> str:
        """The body that the upstream received last."""
        assert self.config.stand_in is not None
        answer = request("GET", f"http://{self.config.stand_in.listen}/standin/received", {})
        return str(orjson.loads(answer.read())[-1]["body"])


@contextmanager
def stage(directory: Path) -> Iterator[Stage]:
    """A running Cordon in `directory`, which is made anew; it is stopped afterwards, its data stays."""
    directory = _made_anew(directory)
    file = directory / "cordon.yaml"
    with ExitStack() as held:
        bundle = held.enter_context(as_file(files("policies").joinpath("bundles/starter")))
        file.write_text(yaml.safe_dump(_configuration(bundle, _free_ports(3)), sort_keys=False))
        held.enter_context(_running(file, directory / "cordon.err"))
        config = load(file)
        reader = open_reader(config.data_dir, config.database)
        held.callback(reader.close)
        yield Stage(file, config, reader)


def _made_anew(directory: Path) -> Path:
    """An empty directory for this demonstration; only one that an earlier demonstration made is emptied."""
    if len(os.fsencode(directory.absolute())) > LONGEST_SOCKET - len("/var/run/log.sock"):
        directory = Path(tempfile.mkdtemp(prefix="cordon-demo-"))
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARK).exists():
            raise SupervisorError(f"{directory} is not empty and not of an earlier demo; name another with --directory")
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / MARK).touch()
    return directory


@contextmanager
def _running(file: Path, errors: Path) -> Iterator[None]:
    with open(errors, "wb") as sink:
        command = [sys.executable, "-m", "cordon.cli", "up", "-c", str(file), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sink, start_new_session=True)
    assert process.stdout is not None
    try:
        readable, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        if not readable or not process.stdout.readline():
            raise SupervisorError(f"Cordon did not start; {errors} says why")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _configuration(bundle: Path, ports: Sequence[int]) -> dict[str, Any]:
    gateway, control, upstream = (f"127.0.0.1:{port}" for port in ports)

    def endpoint(name: str, path: str, jurisdiction: str) -> dict[str, str]:
        return {"id": name, "url": f"http://{upstream}{path}", "jurisdiction": jurisdiction}

    def model(name: str, made: dict[str, str]) -> dict[str, Any]:
        return {"id": name, "prefix": f"/{name}", "kind": "model", "dialect": name, "endpoints": [made]}

    return {
        "data_dir": "var",
        "gateway": {"listen": gateway, "workers": 2, "limits": {"drain_time": 3}},
        "control": {"listen": control},
        "stand_in": {"listen": upstream},
        "policy": {"bundle": str(bundle)},
        "detection": {"refusal_burst": {"threshold": 10}, "contain": {"seconds": 300}},
        "tenants": [{"id": "acme", "residency": ["EU"]}, {"id": "globex", "residency": ["EU", "US"]}],
        "routes": [
            model("openai", endpoint("openai-eu", "/v1", "EU")),
            model("anthropic", endpoint("anthropic-us", "", "US")),
            {"id": "crm", "prefix": "/crm", "kind": "http", "endpoints": [endpoint("crm-eu", "/crm", "EU")]},
        ],
    }


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
