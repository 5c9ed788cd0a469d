"""The data directory: who can read it, whether its databases are sound, whether the log is written and signed."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cordon.config import Config
from cordon.doctor.finding import Finding, fail, ok, warn
from lineage.errors import KeyFileError, LineageError
from lineage.keys import load_verifier
from lineage.ledger import writer_lock
from lineage.note import open_checkpoint
from lineage.paths import Paths
from lineage.place import LogPlace
from lineage.reader import LogReader, open_reader
from lineage.record import decode
from lineage.side_place import SidePlace

STALE_SECONDS = 10.0
LOOKED_THROUGH = 20_000
"""Records at the log's end in which calls without an outcome are looked for."""


def examine_storage(config: Config) -> Iterator[Finding]:
    """All checks of this file."""
    if not config.data_dir.exists():
        yield ok("data", f"{config.data_dir} is made at the first start")
        return
    yield from _modes(config.data_dir)
    paths = Paths(config.data_dir)
    place = LogPlace(config.data_dir, config.database)
    files = [] if place.remote else [("log", paths.log), ("side", paths.side), ("state", config.state_path)]
    for name, path in files:
        if path.exists():
            yield _database(name, path)
    try:
        there = place.exists()
    except LineageError as error:
        yield fail("log", str(error), "see that the server runs and `database` is right; until then calls are refused")
        return
    if place.remote:
        yield _side(SidePlace(config.data_dir, config.database))
        yield _shared_state(config)
    if there:
        yield from _log(config)
    elif place.remote:
        yield ok("log", f"the {place.name} is made at the first start")


def writer_runs(data_dir: Path) -> bool:
    """Whether a process holds the log writer's lock."""
    if not Paths(data_dir).lock.exists():
        return False
    try:
        with writer_lock(data_dir):
            return False
    except LineageError:
        return True


def _modes(data_dir: Path) -> Iterator[Finding]:
    keys = Paths(data_dir).keys
    open_to_others = [
        path
        for path in (data_dir, keys, *(keys.iterdir() if keys.is_dir() else ()))
        if path.exists() and path.suffix != ".vkey" and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    foreign = [path for path in (data_dir, keys) if path.exists() and path.stat().st_uid != os.getuid()]
    if open_to_others:
        names = " ".join(map(str, open_to_others))
        yield fail("modes", f"others can read {names}", f"chmod go-rwx {names}")
    elif foreign:
        yield warn("modes", f"{foreign[0]} belongs to another user", "run this as the user who runs Cordon")
    else:
        yield ok("modes", f"{data_dir} is its owner's alone")


def _database(name: str, path: Path) -> Finding:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            answer = connection.execute("PRAGMA quick_check(3)").fetchall()
    except sqlite3.Error as error:
        return fail(f"{name} database", f"{path} cannot be read: {error}", "restore it from a copy")
    if answer != [("ok",)]:
        return fail(f"{name} database", f"{path} is damaged: {answer[0][0]}", "stop Cordon, restore it from a copy")
    return ok(f"{name} database", f"{path.name}, {path.stat().st_size // 1024} KB, sound")


def _side(place: SidePlace) -> Finding:
    """What lies beside the log, where that is a database of several machines."""
    left = Paths(place.data_dir).side
    if left.exists():
        return warn(
            "side tables",
            f"{left} has tenants' keys that are not in use: the database has its own",
            "stop Cordon and run `cordon log move`; where there is no log to move, set the file aside",
        )
    try:
        there = place.exists()
    except LineageError as error:
        return fail("side tables", str(error), "see that the server runs and `database` is right")
    return ok("side tables", f"the {place.name} are {'there' if there else 'made at the first start'}")


def _shared_state(config: Config) -> Finding:
    from lineage.state_postgres import stored_version
    from lineage.state_upgrade import head

    try:
        found = stored_version(config.database)
    except LineageError as error:
        return fail("state", str(error), "see that the server runs and `database` is right")
    if found in {"", head()}:
        return ok("state", f"tables of version {found}" if found else "its tables are made at the first start")
    remedy = "a start of Cordon brings them up" if found < head() else "run the newer program that made them"
    return warn("state", f"tables of version {found}, this program's are {head()}", remedy)


def _log(config: Config) -> Iterator[Finding]:
    running = writer_runs(config.data_dir)
    yield (
        ok("writer", "the log writer is at work")
        if running
        else warn(
            "writer",
            "no log writer runs here",
            "start it with `cordon up`; until then commands write the log themselves",
        )
    )
    try:
        reader = open_reader(config.data_dir, config.database)
    except LineageError as error:
        yield fail("log", str(error), "restore it from a copy")
        return
    try:
        yield _checkpoint(config.data_dir, reader)
        yield _unfinished(config, reader)
    except LineageError as error:
        yield fail("log", str(error), "run `cordon log verify`")
    finally:
        reader.close()


def _checkpoint(data_dir: Path, reader: LogReader) -> Finding:
    size, note = reader.size(), reader.checkpoint()
    try:
        verifier = load_verifier(data_dir)
        covered = open_checkpoint(note, [verifier]).size if note else 0
    except KeyFileError as error:
        return fail("checkpoint", str(error), "restore the keys directory from a copy")
    except LineageError as error:
        return fail("checkpoint", str(error), "run `cordon log verify`")
    rows = reader.read(covered, 1)
    at = decode(rows[0][1]).get("at") if rows else None
    age = time.time() - at / 1000 if isinstance(at, int) else 0.0
    if age > STALE_SECONDS:
        return warn(
            "checkpoint",
            f"{size - covered} records without a checkpoint, the oldest for {age:.0f} s",
            "see the log writer's messages; a start of Cordon signs them",
        )
    return ok("checkpoint", f"covers {covered} of {size} records of {verifier.name}")


def _unfinished(config: Config, reader: LogReader) -> Finding:
    size = reader.size()
    start = max(0, size - LOOKED_THROUGH)
    before = time.time() * 1000 - config.gateway.limits.total_time * 1000
    waiting: dict[int, int] = {}
    for index, data in reader.records(start):
        record = decode(data)
        at = record.get("at")
        if record.get("kind") == "call.intent" and isinstance(at, int):
            waiting[index] = at
        elif record.get("kind") == "call.outcome" and isinstance(record.get("intent"), int):
            waiting.pop(int(str(record["intent"])), None)
        elif record.get("kind") == "process.lost" and isinstance(lost := record.get("intents"), list):
            for index in lost:
                waiting.pop(index, None)
    left = [index for index, at in waiting.items() if at < before]
    if left:
        return warn(
            "calls",
            f"{len(left)} calls were sent and have no outcome, such as record {left[0]}",
            "a process died then; what became of these calls only their upstream knows",
        )
    return ok("calls", f"no call without an outcome in the last {size - start} records")
