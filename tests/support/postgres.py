"""A real PostgreSQL server for tests: a cluster of its own in a temporary directory, run as a user who is not root.

with postgres() as server:
    database = server.database()          # an address of a new, empty database
    server.kill(); server.start()         # as a machine that lost its power
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.gateway import free_ports
from tests.support.servers import find_binary

NOBODY = "nobody"
START_SECONDS = 30.0


def binaries() -> tuple[Path, Path] | None:
    """The programs initdb and postgres of one version, the newest; Debian keeps them off the PATH."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda home: int(home.parent.name), reverse=True)
    for home in homes:
        if all(os.access(home / name, os.X_OK) for name in ("initdb", "postgres")):
            return home / "initdb", home / "postgres"
    initdb, server = find_binary("initdb"), find_binary("postgres")
    return (initdb, server) if initdb and server else None


class Postgres:
    """One cluster. `password` is the superuser's and of all others; connections over loopback have to show it."""

    def __init__(self, directory: Path, initdb: Path, server: Path) -> None:
        self.data = directory / "data"
        self.password = secrets.token_urlsafe(16)
        (self.port,) = free_ports(1)
        self._server = server
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._as: Mapping[str, Any] = {}
        if os.getuid() == 0:
            who = pwd.getpwnam(NOBODY)
            os.chown(directory, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        secret = directory / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        command = [initdb, "-D", self.data, "-U", "admin", "-E", "UTF8", "--no-locale", "-A", "scram-sha-256"]
        subprocess.run(
            [*command, "--pwfile", secret, "--no-sync"],
            check=True, capture_output=True, timeout=60, cwd=directory, **self._as,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None
        return self._process.pid

    def address(self, name: str, user: str = "admin") -> str:
        """The address of a database of this server. All users have the same password."""
        return f"postgresql://{user}:{self.password}@127.0.0.1:{self.port}/{name}"

    def through(self, database: str, port: int) -> str:
        """The address of the same database behind a relay on another port."""
        return database.replace(f":{self.port}/", f":{port}/")

    def database(self) -> str:
        """The address of a new, empty database, for a role that owns it and has no other right."""
        name = f"log_{secrets.token_hex(4)}"
        with self.connect() as db:
            db.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{self.password}'")
            db.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0")
        return self.address(name, name)

    def drop(self, database: str) -> None:
        """Take away one that `database` made, with all who are connected to it: hundreds of them fill a disk."""
        name = database.rpartition("/")[2]
        with self.connect() as db:
            db.execute(f"DROP DATABASE {name} WITH (FORCE)")
            db.execute(f"DROP ROLE {name}")

    def connect(self, database: str = "") -> psycopg.Connection[Any]:
        """A connection as the superuser, to do what only such a one can."""
        name = database.rpartition("/")[2] or "postgres"
        return psycopg.connect(self.address(name), autocommit=True)

    def start(self, **settings: str) -> None:
        """Start the server and wait until it takes connections, recovery after a kill included."""
        options = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": "", **settings}
        deadline = time.monotonic() + START_SECONDS
        while True:
            with (self._directory / "server.log").open("ab") as log:
                arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
                self._process = subprocess.Popen(
                    [self._server, "-D", self.data, *arguments],
                    stdout=log, stderr=log, cwd=self._directory, **self._as,
                )  # fmt: skip
            while self._process.poll() is None:
                with contextlib.suppress(psycopg.OperationalError):
                    self.connect().close()
                    return
                assert time.monotonic() < deadline, (self._directory / "server.log").read_text()
                time.sleep(0.02)
            # What a killed postmaster leaves behind takes a moment to go; until then a new one refuses to start.
            assert time.monotonic() < deadline, (self._directory / "server.log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """End the postmaster by SIGKILL; its children follow when they notice."""
        self._end(signal.SIGKILL)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Inside, no process of the server moves: it seems to be there, and answers nothing."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        group = [self.pid, *map(int, children)]
        for pid in group:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in group:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the server and its children at once."""
        self._end(signal.SIGQUIT)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


@contextmanager
def postgres(**settings: str) -> Iterator[Postgres]:
    """A running server of one's own; without the programs the test is skipped, and the run's end says so."""
    found = binaries()
    if found is None:
        pytest.skip("postgres is not on this machine; `make servers` gets it")
    directory = Path(tempfile.mkdtemp(prefix="cordon-pg-"))
    try:
        directory.chmod(0o755)
        server = Postgres(directory, *found)
        server.start(**settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
