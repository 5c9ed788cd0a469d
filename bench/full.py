"""The gateway with everything on: identity, policy, inspection, two committed records a call, detectors, console."""

from __future__ import annotations

import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Literal

import yaml

from bench.systems import MODEL, ROOT, System, free_port

TENANT = "acme"
RESIDENCY = ["EU"]
ROUTES = {"whole": "/v1", "stream": "/stream"}
"""Routes by id, with their prefixes."""


class Everything(System):
    """`cordon up` as a user runs it, with the starter bundle."""

    name = "Cordon, everything on"
    refuses = frozenset({"key", "model", "secret"})
    traces = 2

    def start(self, upstream: int) -> None:
        """Write a configuration of two model routes, start it and take a key."""
        file = self.write(upstream)
        self.run(sys.executable, "-m", "cordon.cli", "up", "-c", str(file))
        command = [sys.executable, "-m", "cordon.cli", "key", "create", "bench", "--tenant", TENANT, "-c", str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        self.key = done.stdout.strip()

    def evidence(self) -> int:
        """The records in its log."""
        return count_rows(self.directory / "cordon/var/cordon-log.db", "records")

    def write(self, upstream: int) -> Path:
        """Write the configuration and its bundle; returns the file."""
        home = self.directory / "cordon"
        write_bundle(home / "bundle")
        file = home / "cordon.yaml"
        file.write_text(yaml.safe_dump(self._configuration(upstream)))
        return file

    def _configuration(self, upstream: int) -> dict[str, object]:
        def route(name: str, prefix: str) -> dict[str, object]:
            endpoint = {"id": f"{name}-eu", "url": f"http://127.0.0.1:{upstream}{prefix}", "jurisdiction": "EU"}
            return {"id": name, "prefix": prefix, "kind": "model", "dialect": "openai", "endpoints": [endpoint]}

        return {
            "data_dir": "var",
            "gateway": {"listen": f"127.0.0.1:{self.port}", "workers": self.workers},
            "control": {"listen": f"127.0.0.1:{free_port()}"},
            "policy": {"bundle": "bundle"},
            "tenants": [{"id": TENANT, "residency": RESIDENCY}],
            "routes": [route(name, prefix) for name, prefix in ROUTES.items()],
        }


def count_rows(database: Path, table: Literal["records", "record"]) -> int:
    """How many rows a table of an SQLite file has that another process writes."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
        count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count


def write_bundle(bundle: Path) -> None:
    """The starter bundle with the two routes that are measured, and one model granted on them."""
    shutil.copytree(ROOT / "policies/bundles/starter", bundle)
    data = json.loads((bundle / "data.json").read_text())
    for route in ROUTES:
        data["tenants"][TENANT]["routes"][route] = {"models": [MODEL], "families": []}
        data["routes"][route] = data["routes"]["openai"]
    (bundle / "data.json").write_text(json.dumps(data))


def commit_milliseconds(directory: Path, times: int = 300) -> float:
    """Median time of one durable SQLite commit of a record's size on the disk that the log lies on."""
    database = sqlite3.connect(directory / "commit.db", isolation_level=None)
    database.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE r (i INTEGER PRIMARY KEY, d BLOB)"
    )
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO r (d) VALUES (?)", (b"x" * 600,))
        database.execute("COMMIT")
        taken.append(time.perf_counter() - began)
    database.close()
    return statistics.median(taken) * 1e3
