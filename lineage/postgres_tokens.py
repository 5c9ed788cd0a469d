"""The table of tokens in the PostgreSQL database: every worker of every node finds the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from psycopg.types.numeric import Int4, Int8

from lineage import side_sql as sql
from lineage.postgres_pool import Pool
from lineage.postgres_side import SETTINGS
from lineage.tokens import LARGEST_LOOSE, MOST_LOOSE, Kept, Scope, too_loose, too_many

_REMEMBERED: Final = 1_000


class PostgresTokens:
    """See `Tokens`. `most`: tokens of one principal; `connections`: how many threads are served at a time."""

    def __init__(self, database: str, *, most: int, connections: int = 1) -> None:
        self._most = most
        # Tokens given for a principal since its number was looked at: to count them takes long, and is done seldom.
        self._unchecked: dict[str, int] = {}
        self._pool = Pool(database, "cordon tokens", most=connections, extra=SETTINGS, prepare=sql.make)

    def keep(self, scope: Scope, tokens: Sequence[Kept], now: int, expires: int) -> list[str]:
        """See `Tokens.keep`. Tokens that have most of their time left are not written again."""
        if len(tokens) > self._most:
            raise too_many(self._most)
        principal = scope.principal.encode("utf-8", "surrogatepass")
        values: dict[str, object] = {
            "scope": scope.id,
            "principal": principal,
            "tokens": [each.token for each in tokens],
            "marks": [each.mark for each in tokens],
            "loose": [each.loose for each in tokens],
            "sealed": [each.sealed for each in tokens],
            "now": Int8(now),
            "half": Int8(now + (expires - now) // 2),
            "expires": Int8(expires),
            "most_loose": Int8(MOST_LOOSE),
            "largest_loose": Int8(LARGEST_LOOSE),
        }
        caller = int.from_bytes(hashlib.sha256(principal).digest()[:4], signed=True)
        lock = (sql.LOCK_CALLER, {"class": Int4(sql.CALLERS), "caller": Int4(caller)})
        bound = [(sql.BOUND, {"principal": principal, "most": Int8(self._most)})]
        counts = self._counts(scope.principal, len(tokens))
        _, rows, *_ = self._pool.together([lock, (sql.KEEP, values), *(bound if counts else [])])
        taken, fits, written = rows[0]
        if not fits:
            raise too_loose()
        self._note(scope.principal, written, counted=counts)
        return list(taken)

    def _counts(self, principal: str, more: int) -> bool:
        """Whether it is time to look how many tokens a principal has."""
        return self._unchecked.get(principal, self._most) + more >= self._most // 100

    def _note(self, principal: str, written: int, *, counted: bool) -> None:
        if len(self._unchecked) >= _REMEMBERED:
            self._unchecked.clear()
        self._unchecked[principal] = 0 if counted else self._unchecked.get(principal, self._most) + written

    def find(self, scope: Scope, token: str, now: int) -> Kept | None:
        """See `Tokens.find`."""
        rows = self._pool.rows(sql.FIND, {"scope": scope.id, "token": token, "now": Int8(now)})
        return Kept(*rows[0]) if rows else None

    def loose(self, scope: Scope, now: int) -> list[Kept]:
        """See `Tokens.loose`."""
        rows = self._pool.rows(sql.LOOSE, {"scope": scope.id, "now": Int8(now)})
        return [Kept(*row) for row in rows]

    def forget(self, now: int, *, limit: int = 1_000) -> int:
        """See `Tokens.forget`."""
        return int(self._pool.rows(sql.FORGET, {"now": Int8(now), "limit": Int8(limit)})[0][0])

    def erase(self, tenant: str, *, limit: int = 1_000) -> int:
        """See `Tokens.erase`."""
        # From "tenant/" up to what follows on the slash: the names of all its principals, by the index.
        values = {"first": f"{tenant}/".encode(), "after": f"{tenant}0".encode(), "limit": Int8(limit)}
        return int(self._pool.rows(sql.ERASE, values)[0][0])

    def close(self) -> None:
        """See `Tokens.close`."""
        self._pool.close()
