"""What lies beside the log in the PostgreSQL database: sealed blobs, wrapped keys, bundles, for every node."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from psycopg.types.numeric import Int8

from lineage import side_sql as sql
from lineage.errors import LogUnavailable
from lineage.postgres_pool import Pool

PORTION: Final = 8 << 20
"""Bytes of blobs in one statement, or one blob: the server holds each statement in its memory."""

SETTINGS: Final = {"synchronous_commit": "off"}


class PostgresSide:
    """See `SideStore`; for any process of any machine, and for several threads. Connects when it is first used."""

    def __init__(self, database: str, *, connections: int = 1) -> None:
        self._pool = Pool(database, "cordon side", most=connections, extra=SETTINGS, prepare=sql.make)

    def save(self, blobs: Sequence[tuple[int, bytes]]) -> None:
        """See `SideStore.save`."""
        latest = {hashlib.sha256(blob).digest(): (at, blob) for at, blob in blobs}
        # All who save the same take the rows in the same order, or they could wait for each other.
        rows = [(digest, *latest[digest]) for digest in sorted(latest)]
        statements = [
            (
                sql.SAVE_BLOBS,
                {
                    "digests": [digest for digest, _, _ in portion],
                    "times": [Int8(at) for _, at, _ in portion],
                    "blobs": [blob for _, _, blob in portion],
                },
            )
            for portion in _portions(rows)
        ]
        if statements:
            self._pool.together(statements)

    def load(self, digest: str) -> bytes | None:
        """See `SideStore.load`."""
        rows = self._pool.rows(sql.LOAD_BLOB, {"digest": bytes.fromhex(digest)})
        return rows[0][0] if rows else None

    def load_many(self, digests: Collection[str], most: int) -> dict[str, bytes]:
        """See `SideStore.load_many`."""
        values = {"digests": [bytes.fromhex(digest) for digest in digests], "most": Int8(most)}
        return {digest.hex(): blob for digest, blob in self._pool.rows(sql.LOAD_BLOBS, values)}

    def forget(self, before: int, *, limit: int = 1_000) -> int:
        """See `SideStore.forget`."""
        values = {"before": Int8(before), "limit": Int8(limit)}
        return int(self._pool.rows(sql.FORGET_BLOBS, values)[0][0])

    def delete(self, digests: Iterable[str]) -> int:
        """See `SideStore.delete`."""
        values = {"digests": [bytes.fromhex(digest) for digest in digests]}
        return int(self._pool.rows(sql.DELETE_BLOBS, values)[0][0])

    def wrapped_key(self, tenant: str) -> tuple[bytes | None] | None:
        """See `SideStore.wrapped_key`."""
        rows = self._pool.rows(sql.LOAD_KEY, {"tenant": tenant.encode()})
        return (rows[0][0],) if rows else None

    def add_wrapped_key(self, tenant: str, wrapped: bytes) -> None:
        """See `SideStore.add_wrapped_key`."""
        values = {"tenant": tenant.encode(), "wrapped": wrapped, "at": Int8(_now())}
        self._pool.together([(sql.DURABLY, {}), (sql.ADD_KEY, values)])

    def erase_key(self, tenant: str) -> None:
        """See `SideStore.erase_key`. Copies of the database and the server's own log may have the wrapped key still."""
        self._pool.together([(sql.DURABLY, {}), (sql.ERASE_KEY, {"tenant": tenant.encode(), "at": Int8(_now())})])
        try:
            self._pool.rows(sql.REWRITE_KEYS, {})
        except LogUnavailable as error:
            raise LogUnavailable(
                f"the key's bytes may lie in the file of its table still; try again: {error}"
            ) from error

    def add_bundle(self, at: int, archive: bytes) -> None:
        """See `SideStore.add_bundle`."""
        values = {"digest": hashlib.sha256(archive).digest(), "at": Int8(at), "archive": archive}
        self._pool.together([(sql.DURABLY, {}), (sql.ADD_BUNDLE, values)])

    def bundle(self, digest: str) -> bytes | None:
        """See `SideStore.bundle`."""
        rows = self._pool.rows(sql.LOAD_BUNDLE, {"digest": bytes.fromhex(digest)})
        return rows[0][0] if rows else None

    def drop_bundles(self, needed: Collection[str], before: int) -> int:
        """See `SideStore.drop_bundles`."""
        values = {"before": Int8(before), "needed": [bytes.fromhex(digest) for digest in needed]}
        return int(self._pool.rows(sql.DROP_BUNDLES, values)[0][0])

    def close(self) -> None:
        """See `SideStore.close`."""
        self._pool.close()


def _portions(rows: Sequence[tuple[bytes, int, bytes]]) -> Iterator[list[tuple[bytes, int, bytes]]]:
    portion: list[tuple[bytes, int, bytes]] = []
    size = 0
    for row in rows:
        if portion and size + len(row[2]) > PORTION:
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += len(row[2])
    if portion:
        yield portion


def _now() -> int:
    return time.time_ns() // 1_000_000
