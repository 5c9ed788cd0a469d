"""Changes to a log that somebody with the database in hands could make."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from lineage.paths import Paths

BLOBS = {"records": "data", "checkpoints": "note", "tiles": "hashes"}
"""The tables of the log whose contents are signed, and their columns of bytes."""


def execute(data_dir: Path, sql: str, values: tuple[object, ...] = ()) -> None:
    """Run a statement on the log's database."""
    with closing(sqlite3.connect(Paths(data_dir).log, isolation_level=None)) as db:
        assert db.execute(sql, values).rowcount != 0


def flip(data_dir: Path, table: str, row: int, offset: int, mask: int = 1) -> None:
    """Flip bits of one byte in the `row`-th row of a table; `offset` wraps around the length."""
    column = BLOBS[table]
    with closing(sqlite3.connect(Paths(data_dir).log, isolation_level=None)) as db:
        rowid, data = db.execute(
            f"SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1 OFFSET ?", (row,)
        ).fetchone()
        changed = bytearray(data)
        changed[offset % len(changed)] ^= mask
        db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (bytes(changed), rowid))


def count(data_dir: Path, table: str) -> int:
    """How many rows a table has."""
    with closing(sqlite3.connect(Paths(data_dir).log)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
