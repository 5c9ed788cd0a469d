"""What lies beside the log: blobs that must be erasable, sealed with a key of their tenant, those keys, and bundles.

A record holds only the SHA-256 of its blob's sealed bytes; that digest is also the name under which the blob is kept,
so that many records can share one. Each tenant has one random key, wrapped by the master key; destroying it
(`TenantKeys.erase`) makes the tenant's blobs and digests unreadable at once, in every copy.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lineage.chance import sixteen
from lineage.errors import SideError, TenantErased

KEY_SIZE: Final = 32
_NONCE: Final = 12
_VERSION: Final = b"\x01"


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


class SideStore(Protocol):
    """Where blobs and wrapped keys lie (see `side_place`). For any thread; every method raises LogUnavailable."""

    def save(self, blobs: Sequence[tuple[int, bytes]]) -> None:
        """Keep all of these sealed blobs, (ms since the epoch, bytes) in the order of time, or none of them.

        One that is there already is kept from that time on. Blobs are not durable at once: what a power cut takes,
        replay reports.
        """
        ...

    def load(self, digest: str) -> bytes | None:
        """Return the sealed blob that a record names by `digest` (hex), or None when it is gone or was never there."""
        ...

    def load_many(self, digests: Collection[str], most: int) -> dict[str, bytes]:
        """Return, by its digest, each of these blobs that `load` would return, together at most `most` bytes of them.

        One that is not returned may be there nevertheless: ask for it alone.
        """
        ...

    def forget(self, before: int, *, limit: int = 1_000) -> int:
        """Delete up to `limit` of the oldest blobs kept before the time `before` (ms); return how many were deleted."""
        ...

    def delete(self, digests: Iterable[str]) -> int:
        """Delete the blobs that records name by these digests (hex); return how many were there."""
        ...

    def wrapped_key(self, tenant: str) -> tuple[bytes | None] | None:
        """Return (wrapped key,), (None,) when the tenant was erased, or None when it never had a key."""
        ...

    def add_wrapped_key(self, tenant: str, wrapped: bytes) -> None:
        """Keep a tenant's key, durably, unless another process was first or the tenant was erased."""
        ...

    def erase_key(self, tenant: str) -> None:
        """Destroy a tenant's key, durably, for ever; LogUnavailable where its bytes may be there still: try again."""
        ...

    def add_bundle(self, at: int, archive: bytes) -> None:
        """Keep the archive of a policy bundle, durably, from the time `at` (ms) on."""
        ...

    def bundle(self, digest: str) -> bytes | None:
        """Return what is kept as the archive with this SHA-256 (hex), or None; see `lineage.bundles`."""
        ...

    def drop_bundles(self, needed: Collection[str], before: int) -> int:
        """Delete the archives kept before the time `before` (ms) but those `needed`; return how many there were."""
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...


class _Known(NamedTuple):
    """What is remembered of a tenant until a time: its key, or that it was destroyed."""

    until: float
    key: TenantKey | None


class TenantKeys:
    """The tenants' keys, unwrapped as they are needed and remembered for `seconds`; at most `remember` of them.

    An erasure reaches every process within that time, and a store that does not answer has stopped them all by then.
    """

    def __init__(self, store: SideStore, master: bytes, *, remember: int = 1_024, seconds: float = 5.0) -> None:
        self._store = store
        self._wrap = AESGCM(master)
        self._remember = remember
        self._seconds = seconds
        self._known: dict[str, _Known] = {}
        self._turn = threading.Lock()
        self._fetching: dict[str, Future[TenantKey]] = {}
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="tenant-keys")

    def get(self, tenant: str) -> TenantKey:
        """Return a tenant's key, made at first use; waits for the store where it is not remembered.

        TenantErased when it was destroyed, SideError when the master key is another one, LogUnavailable where the
        store fails.
        """
        known = self._remembered(tenant)
        return self._read(tenant) if known is None else _still(tenant, known)

    def ready(self, tenant: str) -> TenantKey | None:
        """The same without waiting, for event loops: None where `fetch` has to be waited for.

        A key of which half the time is over is read again meanwhile.
        """
        known = self._remembered(tenant)
        if known is None:
            return None
        if known.until - time.monotonic() < self._seconds / 2:
            self.fetch(tenant)
        return _still(tenant, known)

    def fetch(self, tenant: str) -> Future[TenantKey]:
        """Have a key read in a thread, once for all who ask meanwhile; what `get` raises is the future's."""
        with self._turn:
            future = self._fetching.get(tenant)
            if future is None:
                future = self._fetching[tenant] = self._threads.submit(self._read, tenant)
                future.add_done_callback(lambda _: self._fetching.pop(tenant, None))
            return future

    def erase(self, tenant: str) -> None:
        """Destroy a tenant's key: what was sealed with it can never be read again, and the tenant gets no new one."""
        self._store.erase_key(tenant)
        self._keep(tenant, None, time.monotonic())

    def sweep(self) -> None:
        """Let go of keys whose time is over: nobody asks again for that of an erased tenant."""
        now = time.monotonic()
        for tenant, known in list(self._known.items()):
            if known.until <= now:
                self._known.pop(tenant, None)

    def close(self) -> None:
        """Read nothing more; what is being read is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _remembered(self, tenant: str) -> _Known | None:
        known = self._known.get(tenant)
        return known if known is not None and time.monotonic() < known.until else None

    def _read(self, tenant: str) -> TenantKey:
        began = time.monotonic()
        row = self._store.wrapped_key(tenant)
        if row is None:
            nonce = os.urandom(_NONCE)
            wrapped = nonce + self._wrap.encrypt(nonce, os.urandom(KEY_SIZE), _context(tenant))
            self._store.add_wrapped_key(tenant, wrapped)
            row = self._store.wrapped_key(tenant)
        if row is None:
            raise SideError(f"the key of tenant {tenant} was not kept; see the database of what lies beside the log")
        key = None if row[0] is None else self._unwrap(tenant, row[0])
        return _still(tenant, self._keep(tenant, key, began))

    def _keep(self, tenant: str, key: TenantKey | None, began: float) -> _Known:
        """Remember what was read from `began` on; destroyed is for ever, whatever was read a moment before."""
        with self._turn:
            before = self._known.get(tenant)
            if before is not None and before.key is None:
                key = None
            if len(self._known) >= self._remember:
                self._known.clear()
            known = self._known[tenant] = _Known(began + self._seconds, key)
            return known

    def _unwrap(self, tenant: str, wrapped: bytes) -> TenantKey:
        try:
            key = self._wrap.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], _context(tenant))
        except (InvalidTag, ValueError):
            raise SideError(
                f"keys/master.key is not the one that wrapped the key of tenant {tenant}; restore it"
            ) from None
        return TenantKey.derive(key)


def _still(tenant: str, known: _Known) -> TenantKey:
    if known.key is None:
        raise TenantErased(f"the key of tenant {tenant} was destroyed; its content is gone")
    return known.key


def _context(tenant: str) -> bytes:
    return b"cordon tenant key " + tenant.encode()
