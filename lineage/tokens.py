"""Which token stands for which value: sealed, bound to a scope, kept for a time, so that answers can be restored.

The table lies in the side database, or on PostgreSQL (`postgres_tokens`), where every worker of a deployment finds it.
A row is worth nothing without its tenant's key: the value is sealed with it, and `mark` (which tells whether two values
are the same) is keyed. What a killed process had written is there; after a power cut the last second may be missing,
and the next turn of a conversation writes it again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from lineage.errors import LineageError
from lineage.paths import make_private_file
from lineage.sqlite_file import FAILURES, LONGEST_JOURNAL, transaction, unavailable, write_ahead

MOST_LOOSE: Final = 1_000
"""Most loose values of a scope: each request of the scope is searched for them."""

LARGEST_LOOSE: Final = 131_072
"""Most sealed bytes of them: what they are searched with is made anew when there is another one, and takes long."""

_REMEMBERED: Final = 1_000
_PRAGMAS: Final = (
    *("page_size=16384", "synchronous=NORMAL", "secure_delete=ON", "trusted_schema=OFF", LONGEST_JOURNAL),
)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tokens (
    scope BLOB NOT NULL, token TEXT NOT NULL, principal TEXT NOT NULL, mark BLOB NOT NULL, loose INTEGER NOT NULL,
    expires INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (scope, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tokens_of_principal ON tokens (principal, expires);
CREATE INDEX IF NOT EXISTS tokens_by_time ON tokens (expires);
CREATE INDEX IF NOT EXISTS tokens_loose ON tokens (scope, expires) WHERE loose = 1;
"""
_KEEP: Final = """
INSERT INTO tokens (scope, token, principal, mark, loose, expires, sealed) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, token) DO UPDATE
SET mark = excluded.mark, loose = excluded.loose, expires = excluded.expires, sealed = excluded.sealed
"""
_FORGET: Final = """
DELETE FROM tokens WHERE (scope, token) IN (SELECT scope, token FROM tokens WHERE expires <= ? LIMIT ?)
"""
_ERASE: Final = """
DELETE FROM tokens WHERE (scope, token) IN (
    SELECT scope, token FROM tokens WHERE principal >= ? AND principal < ? LIMIT ?
)
"""


class TokensFull(LineageError):
    """More values than may be kept; the call has to be refused."""


def too_many(most: int) -> TokensFull:
    """The error of more tokens at once than a principal may have."""
    return TokensFull(f"a principal may have {most} live tokens (gateway.tokens.per_principal)")


def too_loose() -> TokensFull:
    """The error of more loose tokens than a scope may have."""
    return TokensFull(
        f"more than {MOST_LOOSE} live tokens, or {LARGEST_LOOSE} bytes, stand for values that only their context"
        " gives away"
    )


class Scope(NamedTuple):
    """Within what a token means something: `principal` is tenant/name, `id` 16 keyed bytes of it and a conversation."""

    principal: str
    id: bytes


class Kept(NamedTuple):
    """A token and its sealed value. `mark`: 16 keyed bytes of it. `loose`: only its context made it a finding."""

    token: str
    mark: bytes
    loose: bool
    sealed: bytes


class Tokens(Protocol):
    """Where tokens are kept. Times are ms since the epoch; every method raises LogUnavailable where it cannot."""

    def keep(self, scope: Scope, tokens: Sequence[Kept], now: int, expires: int) -> list[str]:
        """Keep all of them until `expires`, or none; returns the tokens that stand for another value now.

        Whichever of two workers comes first has the token. Over the bound of a principal (or a hundredth beyond), what
        expires first goes; TokensFull where that would not be enough.
        """
        ...

    def find(self, scope: Scope, token: str, now: int) -> Kept | None:
        """What a token of this scope stands for, unless it has expired."""
        ...

    def loose(self, scope: Scope, now: int) -> list[Kept]:
        """The loose tokens of a scope."""
        ...

    def forget(self, now: int, *, limit: int = 1_000) -> int:
        """Delete up to `limit` tokens that have expired; returns how many were deleted."""
        ...

    def erase(self, tenant: str, *, limit: int = 1_000) -> int:
        """Delete up to `limit` tokens of a tenant's principals; returns how many were deleted."""
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...


class TokenStore:
    """The table in the side database on SQLite, for any process and thread. `most`: tokens of one principal."""

    def __init__(self, path: Path, *, most: int) -> None:
        self._path = path
        self._most = most
        # Tokens written for a principal since its number was looked at: to count them takes long, and is done seldom.
        self._unchecked: dict[str, int] = {}
        self._turn = threading.RLock()
        # Who only reads waits for no writer, in this process or another: each call of a worker reads.
        self._reading = threading.Lock()
        make_private_file(path)
        with self._explained():
            self._db, self._reader = (
                sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False) for _ in range(2)
            )
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}")
            write_ahead(self._db.execute)
            self._db.executescript(_SCHEMA)
            self._reader.execute("PRAGMA query_only=ON")

    def keep(self, scope: Scope, tokens: Sequence[Kept], now: int, expires: int) -> list[str]:
        """See `Tokens.keep`. Tokens that have most of their time left are not written again."""
        if len(tokens) > self._most:
            raise too_many(self._most)
        with self._turn, self._explained():
            stale, taken = self._stale(scope, tokens, now, expires)
        if taken or not stale:
            return taken
        with self._transaction() as db:
            # Another worker may have written since.
            stale, taken = self._stale(scope, tokens, now, expires)
            if taken:
                return taken
            rows = [(scope.id, t.token, scope.principal, t.mark, t.loose, expires, t.sealed) for t in stale]
            db.executemany(_KEEP, rows)
            self._bound(db, scope, now, stale)
        return []

    def _stale(self, scope: Scope, tokens: Sequence[Kept], now: int, expires: int) -> tuple[list[Kept], list[str]]:
        """What has to be written, and the tokens that another value has."""
        stale: list[Kept] = []
        taken: list[str] = []
        half = now + (expires - now) // 2
        for token in tokens:
            row = self._db.execute(
                "SELECT mark, expires FROM tokens WHERE scope = ? AND token = ?", (scope.id, token.token)
            ).fetchone()
            if row is not None and row[1] > now and row[0] != token.mark:
                taken.append(token.token)
            elif row is None or row[1] <= half:
                stale.append(token)
        return stale, taken

    def _bound(self, db: sqlite3.Connection, scope: Scope, now: int, written: Sequence[Kept]) -> None:
        self._bound_loose(db, scope, now, written)
        unchecked = self._unchecked.get(scope.principal, self._most) + len(written)
        if unchecked < self._most // 100:
            self._unchecked[scope.principal] = unchecked
            return
        if len(self._unchecked) >= _REMEMBERED:
            self._unchecked.clear()
        self._unchecked[scope.principal] = 0
        sql = "SELECT count(*) FROM tokens WHERE principal = ?"
        over = db.execute(sql, (scope.principal,)).fetchone()[0] - self._most
        if over > 0:
            db.execute(
                "DELETE FROM tokens WHERE (scope, token) IN"
                " (SELECT scope, token FROM tokens WHERE principal = ? ORDER BY expires LIMIT ?)",
                (scope.principal, over),
            )

    @staticmethod
    def _bound_loose(db: sqlite3.Connection, scope: Scope, now: int, written: Sequence[Kept]) -> None:
        if not any(token.loose for token in written):
            return
        sql = "SELECT count(*), sum(length(sealed)) FROM tokens WHERE scope = ? AND loose = 1 AND expires > ?"
        count, size = db.execute(sql, (scope.id, now)).fetchone()
        if count > MOST_LOOSE or (size or 0) > LARGEST_LOOSE:
            raise too_loose()

    def find(self, scope: Scope, token: str, now: int) -> Kept | None:
        """See `Tokens.find`."""
        sql = "SELECT token, mark, loose, sealed FROM tokens WHERE scope = ? AND token = ? AND expires > ?"
        with self._reading, self._explained():
            row = self._reader.execute(sql, (scope.id, token, now)).fetchone()
        return None if row is None else _kept(row)

    def loose(self, scope: Scope, now: int) -> list[Kept]:
        """See `Tokens.loose`."""
        sql = "SELECT token, mark, loose, sealed FROM tokens WHERE scope = ? AND loose = 1 AND expires > ?"
        with self._reading, self._explained():
            return [_kept(row) for row in self._reader.execute(sql, (scope.id, now)).fetchall()]

    def forget(self, now: int, *, limit: int = 1_000) -> int:
        """See `Tokens.forget`."""
        with self._turn, self._explained():
            if self._db.execute("SELECT 1 FROM tokens WHERE expires <= ? LIMIT 1", (now,)).fetchone() is None:
                return 0
        with self._transaction() as db:
            return db.execute(_FORGET, (now, limit)).rowcount

    def erase(self, tenant: str, *, limit: int = 1_000) -> int:
        """See `Tokens.erase`."""
        with self._transaction() as db:
            # From "tenant/" up to what follows on the slash: the names of all its principals, by the index.
            return db.execute(_ERASE, (f"{tenant}/", f"{tenant}0", limit)).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turn, self._explained(), transaction(self._db):
            yield self._db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            raise unavailable(self._path, error) from error

    def close(self) -> None:
        """See `Tokens.close`."""
        with self._turn, self._reading:
            self._db.close()
            self._reader.close()


def _kept(row: tuple[str, bytes, int, bytes]) -> Kept:
    return Kept(row[0], row[1], bool(row[2]), row[3])
