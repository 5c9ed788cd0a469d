"""Takes what lies beside the log from SQLite to PostgreSQL: tenants' keys, blobs, bundles, tokens that still live.

It can be done again at any time: what is there already stays. A tenant that was erased on either side is erased.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from psycopg.types.numeric import Int8

from lineage import side_sql as sql
from lineage.errors import LogUnavailable
from lineage.postgres_session import Session, describe
from lineage.postgres_side import PORTION, PostgresSide
from lineage.sqlite_file import FAILURES, unavailable
from lineage.sqlite_side import SqliteSide
from lineage.tokens import TokenStore

_CHUNK: Final = 1_000


@dataclass(frozen=True, slots=True)
class Beside:
    """What was brought over, or was there already."""

    tenants: int = 0
    blobs: int = 0
    tokens: int = 0


def blobs_in(path: Path) -> int:
    """Return how many blobs the file at `path` has; LogUnavailable when it cannot be read."""
    if not path.exists():
        return 0
    with closing(_Source(path)) as source:
        return source.blobs()


def copy_side(path: Path, database: str, copied: Callable[[int], object]) -> Beside:
    """Bring the side database at `path` over to the PostgreSQL `database`; `copied` is told how many more blobs are.

    Raises LogUnavailable when one of them fails, or a tenant has another key there. Nobody else may write to the file.
    """
    if not path.exists():
        return Beside()
    with closing(_Source(path)) as source, closing(PostgresSide(database)) as target:
        tenants = _copy_keys(source, target, database)
        blobs = 0
        for portion in source.portions():
            target.save(portion)
            blobs += len(portion)
            copied(len(portion))
        for at, archive in source.rows("SELECT at, archive FROM bundles"):
            target.add_bundle(at, archive)
        return Beside(tenants, blobs, _copy_tokens(source, database))


class _Source:
    """The file, read in order."""

    def __init__(self, path: Path) -> None:
        # Whichever of the two tables no process has used yet is made, so that it can be read.
        SqliteSide(path).close()
        TokenStore(path, most=1).close()
        self._path = path
        self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None)

    def rows(self, query: str, values: Sequence[object] = ()) -> Iterator[Any]:
        """The rows of a query, as they are needed."""
        try:
            yield from self._db.execute(query, values)
        except FAILURES as error:
            raise unavailable(self._path, error) from error

    def blobs(self) -> int:
        """How many blobs there are."""
        return int(next(self.rows("SELECT count(*) FROM blobs"))[0])

    def portions(self) -> Iterator[list[tuple[int, bytes]]]:
        """The blobs in the order of time, some megabytes at once."""
        portion: list[tuple[int, bytes]] = []
        size = 0
        for at, blob in self.rows("SELECT at, blob FROM blobs ORDER BY turn"):
            portion.append((at, blob))
            size += len(blob)
            if size >= PORTION or len(portion) >= _CHUNK:
                yield portion
                portion, size = [], 0
        if portion:
            yield portion

    def close(self) -> None:
        self._db.close()


def _copy_keys(source: _Source, target: PostgresSide, database: str) -> int:
    rows = list(source.rows("SELECT tenant, wrapped FROM tenant_keys ORDER BY tenant"))
    there = {tenant: target.wrapped_key(tenant) for tenant, _ in rows}
    for tenant, wrapped in rows:
        row = there[tenant]
        if wrapped is not None and row not in (None, (None,), (wrapped,)):
            raise LogUnavailable(
                f"the {describe(database)} has another key of tenant {tenant}; name an empty database, or digests and"
                " blobs of one of the two could not be read any more"
            )
    for tenant, wrapped in rows:
        if wrapped is not None:
            target.add_wrapped_key(tenant, wrapped)
        elif there[tenant] != (None,):
            target.erase_key(tenant)
    return len(rows)


def _copy_tokens(source: _Source, database: str) -> int:
    query = "SELECT scope, token, principal, mark, loose, expires, sealed FROM tokens WHERE expires > ?"
    count = 0
    with closing(Session(database, "cordon move")) as session:
        sql.make(session)
        for rows in _chunks(source.rows(query, (time.time_ns() // 1_000_000,))):
            scopes, tokens, principals, marks, loose, expires, sealed = zip(*rows, strict=True)
            values = {
                "scopes": list(scopes),
                "tokens": list(tokens),
                "principals": [principal.encode("utf-8", "surrogatepass") for principal in principals],
                "marks": list(marks),
                "loose": [bool(each) for each in loose],
                "expires": [Int8(each) for each in expires],
                "sealed": list(sealed),
            }
            session.rows(sql.COPY, values)
            count += len(rows)
    return count


def _chunks(rows: Iterator[Any]) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
