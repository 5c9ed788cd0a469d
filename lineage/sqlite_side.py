"""What lies beside the log in a SQLite file of the data directory: sealed blobs, tenants' wrapped keys, bundles."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from lineage.errors import LogUnavailable
from lineage.paths import make_private_file
from lineage.sqlite_file import FAILURES, LONGEST_JOURNAL, transaction, unavailable, write_ahead

# Blobs of some kilobytes: large pages cost a third of the time that pages of 4 KiB do.
_PRAGMAS: Final = (
    *("page_size=16384", "synchronous=NORMAL", "wal_autocheckpoint=2048"),
    *("secure_delete=ON", "trusted_schema=OFF", LONGEST_JOURNAL),
)
_MANY: Final = 500
"""Blobs that one statement reads: some builds of SQLite take no more than 999 values."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS blobs (
    turn INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, at INTEGER NOT NULL, blob BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tenant_keys (tenant TEXT PRIMARY KEY, wrapped BLOB, at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS bundles (digest BLOB PRIMARY KEY, at INTEGER NOT NULL, archive BLOB NOT NULL) STRICT;
"""


class SqliteSide:
    """The side database, for any process. Blobs are not durable at once: what a power cut takes, replay reports."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.RLock()
        make_private_file(path)
        with self._turn, _explained(path):
            self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}")
            write_ahead(self._db.execute)
            self._db.executescript(_SCHEMA)

    def save(self, blobs: Sequence[tuple[int, bytes]]) -> None:
        """Keep sealed blobs as (ms since the epoch, bytes), in the order of time; LogUnavailable when that fails.

        One that is there already is kept from that time on.
        """
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO blobs (digest, at, blob) VALUES (?, ?, ?)",
                [(hashlib.sha256(blob).digest(), at, blob) for at, blob in blobs],
            )

    def load(self, digest: str) -> bytes | None:
        """Return the sealed blob that a record names by `digest` (hex), or None when it is gone or was never there."""
        with self._turn, _explained(self._path):
            row = self._db.execute("SELECT blob FROM blobs WHERE digest = ?", (bytes.fromhex(digest),)).fetchone()
        return None if row is None else row[0]

    def load_many(self, digests: Collection[str], most: int) -> dict[str, bytes]:
        """See `SideStore.load_many`."""
        found: dict[str, bytes] = {}
        left = most
        names = sorted(map(bytes.fromhex, digests))
        with self._turn, _explained(self._path):
            for first in range(0, len(names), _MANY):
                portion = names[first : first + _MANY]
                places = ",".join("?" * len(portion))
                query = f"SELECT digest, blob FROM blobs WHERE digest IN ({places})"  # noqa: S608 - question marks only
                with closing(self._db.execute(query, portion)) as rows:
                    for digest, blob in rows:
                        left -= len(blob)
                        if left < 0:
                            return found
                        found[digest.hex()] = blob
        return found

    def forget(self, before: int, *, limit: int = 1_000) -> int:
        """Delete up to `limit` of the oldest blobs kept before the time `before` (ms); return how many were deleted."""
        with self._transaction() as db:
            # Blobs come, and come again, in the order of time, so the oldest are the first; no index by time is needed.
            rows = db.execute("SELECT turn, at FROM blobs ORDER BY turn LIMIT ?", (limit,)).fetchall()
            old = [(turn,) for turn, at in rows if at < before]
            db.executemany("DELETE FROM blobs WHERE turn = ?", old)
            return len(old)

    def delete(self, digests: Iterable[str]) -> int:
        """See `SideStore.delete`."""
        with self._transaction() as db:
            return sum(
                db.execute("DELETE FROM blobs WHERE digest = ?", (bytes.fromhex(digest),)).rowcount
                for digest in digests
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn, _explained(self._path), transaction(self._db):
            yield self._db

    def wrapped_key(self, tenant: str) -> tuple[bytes | None] | None:
        """Return (wrapped key,), (None,) when the tenant was erased, or None when it never had a key."""
        with self._turn, _explained(self._path):
            row: tuple[bytes | None] | None = self._db.execute(
                "SELECT wrapped FROM tenant_keys WHERE tenant = ?", (tenant,)
            ).fetchone()
        return row

    def add_wrapped_key(self, tenant: str, wrapped: bytes) -> None:
        """Keep a tenant's key, durably, unless another process was first."""
        self._durably(
            "INSERT OR IGNORE INTO tenant_keys (tenant, wrapped, at) VALUES (?, ?, ?)", (tenant, wrapped, _now())
        )

    def erase_key(self, tenant: str) -> None:
        """See `SideStore.erase_key`."""
        self._durably("INSERT OR REPLACE INTO tenant_keys (tenant, wrapped, at) VALUES (?, NULL, ?)", (tenant, _now()))
        with self._turn, _explained(self._path):
            # The write-ahead log may still hold the key's page: fold it back and empty it.
            left = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if left:
            raise LogUnavailable(
                f"{self._path.name} is being read all the time and still holds the key's bytes; try again"
            )

    def add_bundle(self, at: int, archive: bytes) -> None:
        """See `SideStore.add_bundle`."""
        values = (hashlib.sha256(archive).digest(), at, archive)
        self._durably("INSERT OR REPLACE INTO bundles (digest, at, archive) VALUES (?, ?, ?)", values)

    def bundle(self, digest: str) -> bytes | None:
        """See `SideStore.bundle`."""
        query = "SELECT archive FROM bundles WHERE digest = ?"
        with self._turn, _explained(self._path):
            row = self._db.execute(query, (bytes.fromhex(digest),)).fetchone()
        return None if row is None else row[0]

    def drop_bundles(self, needed: Collection[str], before: int) -> int:
        """See `SideStore.drop_bundles`."""
        with self._transaction() as db:
            rows = db.execute("SELECT digest FROM bundles WHERE at < ?", (before,)).fetchall()
            gone = [(digest,) for (digest,) in rows if digest.hex() not in needed]
            db.executemany("DELETE FROM bundles WHERE digest = ?", gone)
        return len(gone)

    def _durably(self, sql: str, values: tuple[object, ...]) -> None:
        with self._turn:
            with _explained(self._path):
                self._db.execute("PRAGMA synchronous=FULL")
            try:
                with self._transaction() as db:
                    db.execute(sql, values)
            finally:
                self._db.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._db.close()


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise unavailable(path, error) from error
