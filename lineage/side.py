"""What lies beside the log: blobs that must be erasable, sealed with a key of their tenant, and those keys.

A record holds only the SHA-256 of its blob's sealed bytes; that digest is also the name under which the blob is kept,
so that many records can share one. Each tenant has one random key, wrapped by the master key; destroying it
(`TenantKeys.erase`) makes the tenant's blobs and digests unreadable at once, in every copy.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lineage.chance import sixteen
from lineage.errors import LogUnavailable, SideError
from lineage.paths import make_private_file
from lineage.sqlite_file import FAILURES, transaction, unavailable

KEY_SIZE: Final = 32
_NONCE: Final = 12
_VERSION: Final = b"\x01"
# Blobs of some kilobytes: large pages cost a third of the time that pages of 4 KiB do.
_PRAGMAS: Final = (
    *("page_size=16384", "journal_mode=WAL", "synchronous=NORMAL", "wal_autocheckpoint=2048"),
    *("secure_delete=ON", "trusted_schema=OFF"),
)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS blobs (
    turn INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, at INTEGER NOT NULL, blob BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tenant_keys (tenant TEXT PRIMARY KEY, wrapped BLOB, at INTEGER NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True, repr=False)
class TenantKey:
    """A tenant's key, parted by purpose, so that a digest of chosen content can never be the sealing key.

    `digesting` is a keyed digest of nothing yet, to be copied: to set one up takes longer than to digest a record.
    """

    sealing: AESGCM = field(compare=False)
    digesting: hmac.HMAC = field(compare=False)
    redacting: bytes

    @classmethod
    def derive(cls, key: bytes) -> TenantKey:
        """Return the parts of a tenant's 32 random bytes."""
        purposes = (b"cordon sealing", b"cordon digesting", b"cordon redacting")
        sealing, digesting, redacting = (hmac.digest(key, purpose, "sha256") for purpose in purposes)
        return cls(AESGCM(sealing), hmac.new(digesting, digestmod="sha256"), redacting)


def seal(tenant_key: TenantKey, tenant: str, data: bytes) -> bytes:
    """Return `data` encrypted (AES-256-GCM, random nonce) and bound to its tenant; 29 bytes longer than `data`."""
    nonce = sixteen()[:_NONCE]
    return _VERSION + nonce + tenant_key.sealing.encrypt(nonce, data, tenant.encode())


def unseal(tenant_key: TenantKey, tenant: str, blob: bytes) -> bytes:
    """Return what `seal` was given; SideError when the key, the tenant or a byte is another one."""
    if blob[:1] != _VERSION:
        raise SideError("the sealed blob is of an unknown form")
    try:
        return tenant_key.sealing.decrypt(blob[1 : 1 + _NONCE], blob[1 + _NONCE :], tenant.encode())
    except (InvalidTag, ValueError):
        raise SideError("the sealed blob does not belong to this tenant, or was changed") from None


def content_digest(tenant_key: TenantKey, data: bytes) -> str:
    """Return the keyed digest of content (HMAC-SHA256, hex): equal for equal data of one tenant, opaque otherwise."""
    digest = tenant_key.digesting.copy()
    digest.update(data)
    return digest.hexdigest()


def blob_digest(blob: bytes) -> str:
    """Return what a record's `side` field holds: SHA-256 of the sealed bytes, hex."""
    return hashlib.sha256(blob).hexdigest()


class SideStore:
    """The side database, for any process. Blobs are not durable at once: what a power cut takes, replay reports."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.RLock()
        make_private_file(path)
        with self._turn, _explained(path):
            self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}")
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

    def forget(self, before: int, *, limit: int = 1_000) -> int:
        """Delete up to `limit` of the oldest blobs kept before the time `before` (ms); return how many were deleted."""
        with self._transaction() as db:
            # Blobs come, and come again, in the order of time, so the oldest are the first; no index by time is needed.
            rows = db.execute("SELECT turn, at FROM blobs ORDER BY turn LIMIT ?", (limit,)).fetchall()
            old = [(turn,) for turn, at in rows if at < before]
            db.executemany("DELETE FROM blobs WHERE turn = ?", old)
            return len(old)

    def delete(self, digests: Iterable[str]) -> int:
        """Delete the blobs that records name by these digests (hex); return how many were there."""
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
        """Destroy a tenant's key, durably, for ever; LogUnavailable where the file may hold its bytes still."""
        self._durably("INSERT OR REPLACE INTO tenant_keys (tenant, wrapped, at) VALUES (?, NULL, ?)", (tenant, _now()))
        with self._turn, _explained(self._path):
            # The write-ahead log may still hold the key's page: fold it back and empty it.
            left = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if left:
            raise LogUnavailable(
                f"{self._path.name} is being read all the time and still holds the key's bytes; try again"
            )

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


class TenantKeys:
    """The tenants' keys, unwrapped as they are needed. Keeps at most `remember` of them."""

    def __init__(self, store: SideStore, master: bytes, *, remember: int = 1_024, seconds: float = 5.0) -> None:
        self._store = store
        self._wrap = AESGCM(master)
        self._remember = remember
        self._seconds = seconds
        self._known: dict[str, tuple[float, TenantKey]] = {}

    def get(self, tenant: str) -> TenantKey:
        """Return a tenant's key, made at first use; SideError when it was erased or the master key is another one.

        A key is remembered for `seconds`, so that an erasure reaches every process soon.
        """
        known = self._known.get(tenant)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        row = self._store.wrapped_key(tenant)
        if row is None:
            nonce = os.urandom(_NONCE)
            wrapped = nonce + self._wrap.encrypt(nonce, os.urandom(KEY_SIZE), _context(tenant))
            self._store.add_wrapped_key(tenant, wrapped)
            row = self._store.wrapped_key(tenant)
        key = self._unwrap(tenant, row[0] if row else None)
        if len(self._known) >= self._remember:
            self._known.clear()
        self._known[tenant] = (time.monotonic() + self._seconds, key)
        return key

    def _unwrap(self, tenant: str, wrapped: bytes | None) -> TenantKey:
        if wrapped is None:
            self._known.pop(tenant, None)
            raise SideError(f"the key of tenant {tenant} was destroyed; its content is gone")
        try:
            key = self._wrap.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], _context(tenant))
        except (InvalidTag, ValueError):
            raise SideError(
                f"keys/master.key is not the one that wrapped the key of tenant {tenant}; restore it"
            ) from None
        return TenantKey.derive(key)

    def erase(self, tenant: str) -> None:
        """Destroy a tenant's key: what was sealed with it can never be read again, and the tenant gets no new one."""
        self._store.erase_key(tenant)
        self._known.pop(tenant, None)


def _context(tenant: str) -> bytes:
    return b"cordon tenant key " + tenant.encode()


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise unavailable(path, error) from error
