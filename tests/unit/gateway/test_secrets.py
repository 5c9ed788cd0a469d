"""A tenant's digests, hashes and sealed inputs are its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing

import pytest

from gateway.errors import Refusal
from gateway.secrets import Secrets, TenantSecrets
from lineage.errors import LineageError, LogUnavailable
from lineage.side import TenantKey, TenantKeys, unseal

KEYS = {tenant: TenantKey.derive(tenant.encode().ljust(32, b"\0")) for tenant in ("acme", "globex")}
ACME, GLOBEX = (Secrets(tenant, key) for tenant, key in KEYS.items())


def test_the_same_content_has_another_digest_for_another_tenant() -> None:
    assert ACME.digest(b"x") == ACME.digest(b"x")
    assert ACME.digest(b"x") != GLOBEX.digest(b"x")


def test_a_running_digest_equals_the_digest_of_the_whole() -> None:
    running = ACME.running_digest()
    running.update(b"ab")
    running.update(b"c")
    assert running.hexdigest() == ACME.digest(b"abc")


def test_the_hash_key_serves_no_other_purpose() -> None:
    key = KEYS["acme"]
    assert ACME.hash_key not in (key.sealing, key.digesting)
    assert ACME.hash_key != GLOBEX.hash_key


def test_what_is_sealed_opens_for_the_same_tenant_only() -> None:
    sealed = ACME.seal(b"input")
    assert b"input" not in sealed
    assert unseal(KEYS["acme"], "acme", sealed) == b"input"
    for key, tenant in (("globex", "globex"), ("acme", "globex"), ("globex", "acme")):
        with pytest.raises(LineageError):
            unseal(KEYS[key], tenant, sealed)


class SlowStore:
    """Tenants' keys behind something that answers when it is let to, or fails."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes | None] = {}
        self.answers = threading.Event()
        self.answers.set()
        self.fails = False
        self.reads = 0

    def wrapped_key(self, tenant: str) -> tuple[bytes | None] | None:
        self.reads += 1
        assert self.answers.wait(10)
        if self.fails:
            raise LogUnavailable("the server does not answer")
        return (self.keys[tenant],) if tenant in self.keys else None

    def add_wrapped_key(self, tenant: str, wrapped: bytes) -> None:
        self.keys.setdefault(tenant, wrapped)

    def erase_key(self, tenant: str) -> None:
        self.keys[tenant] = None

    def save(self, blobs: Sequence[tuple[int, bytes]]) -> None:
        raise NotImplementedError

    def load(self, digest: str) -> bytes | None:
        raise NotImplementedError

    def forget(self, before: int, *, limit: int = 1_000) -> int:
        raise NotImplementedError

    def delete(self, digests: Iterable[str]) -> int:
        raise NotImplementedError

    def close(self) -> None:
        self.answers.set()


def test_many_calls_wait_for_one_read_and_the_loop_for_none() -> None:
    async def scene() -> None:
        store.answers.clear()
        waiting = [asyncio.create_task(secrets.of("acme")) for _ in range(20)]
        began = time.monotonic()
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 1 and store.reads == 1
        waiting[0].cancel()
        await asyncio.sleep(0.01)
        store.answers.set()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(done[0], asyncio.CancelledError), "who leaves takes the key away from nobody else"
        assert len({secrets.digest(b"x") for secrets in done[1:] if isinstance(secrets, Secrets)}) == 1

    store = SlowStore()
    with closing(store), closing(TenantKeys(store, bytes(range(32)))) as keys:
        secrets = TenantSecrets(keys)
        asyncio.run(scene())


def test_a_key_is_read_again_beside_the_calls_and_refused_when_its_time_is_over() -> None:
    async def scene() -> None:
        first = await secrets.of("acme")
        await asyncio.sleep(0.45)  # Half its time is over: from now on it is being read again.
        store.answers.clear()
        reads = store.reads
        for _ in range(5):
            began = time.monotonic()
            assert (await secrets.of("acme")).hash_key == first.hash_key
            assert time.monotonic() - began < 0.05
        store.fails = True
        await asyncio.sleep(0.45)
        assert store.reads == reads + 1
        late = asyncio.create_task(secrets.of("acme"))
        await asyncio.sleep(0.02)
        assert not late.done(), "its time is over: it is not used any more"
        store.answers.set()
        with pytest.raises(Refusal, match="cannot be read") as refused:
            await late
        assert (refused.value.status, refused.value.code) == (503, "keys_unavailable")
        store.fails = False
        assert (await secrets.of("acme")).hash_key == first.hash_key

    store = SlowStore()
    with closing(store), closing(TenantKeys(store, bytes(range(32)), seconds=0.8)) as keys:
        secrets = TenantSecrets(keys)
        asyncio.run(scene())


def test_an_erased_tenant_is_refused_as_such_and_a_read_that_comes_late_brings_nothing_back() -> None:
    async def scene() -> None:
        await secrets.of("acme")
        store.answers.clear()
        late = keys.fetch("acme")
        kept = dict(store.keys)
        keys.erase("acme")
        store.keys = kept  # What the read began with.
        store.answers.set()
        with pytest.raises(LineageError, match="destroyed"):
            late.result(5)
        with pytest.raises(Refusal, match="destroyed") as refused:
            await secrets.of("acme")
        assert (refused.value.status, refused.value.code) == (403, "tenant_erased")

    store = SlowStore()
    with closing(store), closing(TenantKeys(store, bytes(range(32)))) as keys:
        secrets = TenantSecrets(keys)
        asyncio.run(scene())
