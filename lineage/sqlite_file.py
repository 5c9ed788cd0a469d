"""The log's SQLite file: how it is made, opened and recognised, and what its errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from lineage.errors import LogUnavailable

APPLICATION_ID: Final = 0x436F7264
"""Marks the file as a log of this program ("Cord")."""
SCHEMA_VERSION: Final = 1
FAILURES: Final = (sqlite3.Error, UnicodeError)
"""What `sqlite3` raises; the second when it tries to tell of damage in a damaged text."""

SCHEMA: Final = """
CREATE TABLE records (idx INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note BLOB NOT NULL) STRICT;
CREATE TABLE tiles (
    level INTEGER NOT NULL, idx INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (level, idx)
) STRICT;
CREATE TABLE control (
    kind TEXT NOT NULL, id TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE epoch (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL) STRICT;
INSERT INTO epoch VALUES (1, 0);
"""
DAMAGED: Final = "is damaged; run `cordon log verify` and restore from a copy"
_REASONS: Final[Mapping[str, str]] = {
    "SQLITE_FULL": "the disk is full; free some space",
    "SQLITE_READONLY": "the database or its disk is read-only",
    "SQLITE_BUSY": "another program has locked the database; close it",
    "SQLITE_LOCKED": "another program has locked the database; close it",
    "SQLITE_IOERR": "the disk reports an error",
    "SQLITE_CORRUPT": f"the database {DAMAGED}",
    "SQLITE_NOTADB": "the file is not a database; restore from a copy",
    "SQLITE_CANTOPEN": "the file cannot be opened; check that it is there and its permissions",
    "SQLITE_CONSTRAINT": "an index is taken already; run `cordon log verify`",
}


LONGEST_JOURNAL: Final = f"journal_size_limit={64 << 20}"
"""The pragma for what a write-ahead log that grew, while somebody read for long, shrinks to afterwards."""
_WAL_SECONDS: Final = 5.0
_WAL_PAUSE: Final = 0.01


def write_ahead(execute: Callable[[str], Any]) -> None:
    """Have a file keep a write-ahead log, by what executes a statement on it; `sqlite3.Error` when that fails.

    Processes that open a new file at once wait for each other here: SQLite itself waits for no lock in this step.
    """
    end = time.monotonic() + _WAL_SECONDS
    while True:
        try:
            execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > end:
                raise
            time.sleep(_WAL_PAUSE)
        else:
            return


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that is done within, or after any error nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.rollback()
        raise


def connect(path: Path) -> sqlite3.Connection:
    """Open the file for several threads, with an fsync at each commit; LogUnavailable when it cannot be opened.

    A log on a read-only medium can be read when its last writer closed it: then nothing is left in a write-ahead
    log, which cannot be opened there.
    """
    uri = path.absolute().as_uri()
    try:
        return _open(f"{uri}?mode=rw")
    except FAILURES as error:
        wal = path.with_name(path.name + "-wal")
        if probe(path.parent) != "SQLITE_READONLY" or (wal.exists() and wal.stat().st_size):
            raise unavailable(path, error) from error
    try:
        return _open(f"{uri}?mode=ro&immutable=1")
    except FAILURES as error:
        raise unavailable(path, error) from error


def _open(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        for pragma in ("synchronous=FULL", "trusted_schema=OFF", "cell_size_check=ON", "schema_version"):
            db.execute(f"PRAGMA {pragma}").fetchone()
    except FAILURES:
        db.close()
        raise
    return db


def create(path: Path) -> None:
    """Make the tables of a new file, all or none; a file that has tables stays as it is."""
    db = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            write_ahead(db.execute)
            db.execute("PRAGMA synchronous=FULL")
            marks = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {marks} COMMIT;")
    finally:
        db.close()


def check_format(db: sqlite3.Connection, path: Path) -> None:
    """Raise LogUnavailable unless the open file is a log of this version."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID or version != SCHEMA_VERSION:
        raise LogUnavailable(f"{path} is not a log that this version reads (schema {version}, not {SCHEMA_VERSION})")


def unavailable(path: Path, error: Exception) -> LogUnavailable:
    """Return what an error of SQLite on this file means to the operator; it names the file, not where it lies."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        name = probe(path.parent) or name
    if isinstance(error, UnicodeError):
        name = "SQLITE_CORRUPT"
    reason = next((text for prefix, text in _REASONS.items() if name.startswith(prefix)), str(error))
    return LogUnavailable(f"{path.name}: {reason}" + (f" ({name})" if name else ""))


def probe(directory: Path) -> str | None:
    """Find out what SQLite does not tell: why the disk takes nothing."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"\0" * 4_096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return {errno.EROFS: "SQLITE_READONLY", errno.ENOSPC: "SQLITE_FULL", errno.EDQUOT: "SQLITE_FULL"}.get(
            error.errno or 0
        )
    return None
