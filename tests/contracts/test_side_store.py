"""What every store of blobs, wrapped keys and bundles must do, whatever database it lies in."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from lineage.bundles import MAX_ARCHIVE, BundleStore
from lineage.errors import SideError, TenantErased
from lineage.postgres_side import PORTION, PostgresSide
from lineage.side import SideStore, TenantKeys, blob_digest
from lineage.sqlite_side import SqliteSide
from tests.support.postgres import Postgres, postgres

MASTER = bytes(range(32))
Opener = Callable[[], SideStore]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens one and the same store, each time it is called, as another process does."""
    stores: list[SideStore] = []
    database = request.getfixturevalue("server").database() if request.param == "postgres" else ""

    def open_one() -> SideStore:
        stores.append(PostgresSide(database) if database else SqliteSide(tmp_path / "side.db"))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Opener) -> SideStore:
    return opened()


def test_blobs_are_kept_by_their_digest_for_every_process(store: SideStore, opened: Opener) -> None:
    store.save([(1_000, b"five"), (2_000, b"nine"), (3_000, bytes(range(256)) * 1_000)])
    for each in (store, opened()):
        assert each.load(blob_digest(b"five")) == b"five"
        assert each.load(blob_digest(b"nine")) == b"nine"
        assert each.load(blob_digest(bytes(range(256)) * 1_000)) == bytes(range(256)) * 1_000
        assert each.load(blob_digest(b"six")) is None


def test_many_blobs_are_read_at_once_as_far_as_there_is_room(store: SideStore) -> None:
    blobs = [b"blob %d" % number * 10 for number in range(1_200)]
    store.save([(1_000, blob) for blob in blobs])
    named = {blob_digest(blob): blob for blob in blobs}
    assert store.load_many([*named, blob_digest(b"never there")], 1 << 20) == named
    assert store.load_many([], 1 << 20) == {}
    some = store.load_many(named.keys(), 10_000)
    assert some.items() <= named.items()
    assert 9_900 < sum(map(len, some.values())) <= 10_000
    assert store.load_many([blob_digest(blobs[0])], len(blobs[0]) - 1) == {}


def test_nothing_to_save_is_nothing(store: SideStore) -> None:
    store.save([])
    assert store.forget(2**52) == 0


def test_a_blob_that_comes_again_is_kept_from_then_on(store: SideStore) -> None:
    store.save([(1_000, b"again"), (2_000, b"once"), (3_000, b"again")])
    store.save([(1_500, b"once more")])
    store.save([(3_500, b"once more")])
    assert store.forget(3_000) == 1
    assert store.load(blob_digest(b"once")) is None
    assert store.load(blob_digest(b"again")) == b"again"
    assert store.load(blob_digest(b"once more")) == b"once more"


def test_blobs_are_forgotten_by_age_in_bounded_steps(store: SideStore) -> None:
    store.save([(number * 1_000, b"blob %d" % number) for number in range(100)])
    assert [store.forget(50_000, limit=30) for _ in range(3)] == [30, 20, 0]
    assert store.load(blob_digest(b"blob 49")) is None
    assert store.load(blob_digest(b"blob 50")) == b"blob 50"


def test_blobs_are_deleted_by_their_digests(store: SideStore) -> None:
    store.save([(number, b"blob %d" % number) for number in range(5)])
    named = [blob_digest(b"blob %d" % number) for number in (1, 3, 7)]
    assert [store.delete(iter(named)), store.delete(named), store.delete([])] == [2, 0, 0]
    assert [store.load(blob_digest(b"blob %d" % number)) is None for number in range(5)] == [False, True] * 2 + [False]


def test_more_than_one_statement_takes(store: SideStore) -> None:
    blobs = [bytes([number]) * (PORTION // 3) for number in range(8)]
    store.save([(number, blob) for number, blob in enumerate(blobs)])
    assert [store.load(blob_digest(blob)) for blob in blobs] == blobs


def test_processes_that_save_the_same_blobs_at_once_do_not_block_each_other(opened: Opener) -> None:
    stores = [opened() for _ in range(4)]
    blobs = [(number, b"blob %d" % number) for number in range(200)]
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                stores[number].save(blobs[:: 1 if (number + turn) % 2 else -1])
                stores[number].forget(turn * 20)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failed and stores[0].load(blob_digest(b"blob 199")) == b"blob 199"


@pytest.mark.parametrize("tenant", ["acme", "čeština", "x" * 300])
def test_a_tenant_gets_one_key_which_every_process_has(store: SideStore, opened: Opener, tenant: str) -> None:
    assert store.wrapped_key(tenant) is None
    store.add_wrapped_key(tenant, b"first")
    store.add_wrapped_key(tenant, b"second")
    assert store.wrapped_key(tenant) == opened().wrapped_key(tenant) == (b"first",)


def test_those_who_race_for_the_first_use_agree(opened: Opener) -> None:
    """Two nodes, several workers each, with the same master key: digests of one tenant must be comparable."""
    keys = [TenantKeys(opened(), MASTER) for _ in range(8)]
    start = threading.Barrier(len(keys))
    found: dict[int, list[object]] = {}

    def use(number: int) -> None:
        start.wait()
        found[number] = [keys[number].get(f"tenant {each}") for each in range(10)]

    threads = [threading.Thread(target=use, args=(number,)) for number in range(len(keys))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == len(keys) and all(mine == found[0] for mine in found.values())


def test_an_erased_tenant_never_gets_a_key_again(store: SideStore, opened: Opener) -> None:
    other = opened()
    here, there = TenantKeys(store, MASTER, seconds=0.05), TenantKeys(other, MASTER, seconds=0.05)
    here.get("acme")
    assert there.get("acme") == here.get("acme")
    here.erase("acme")
    here.erase("ghost")
    with pytest.raises(TenantErased):
        here.get("acme")
    threading.Event().wait(0.1)
    for tenant in ("acme", "ghost"):
        store.add_wrapped_key(tenant, b"another")
        other.add_wrapped_key(tenant, b"another")
        assert other.wrapped_key(tenant) == (None,)
        with pytest.raises(TenantErased):
            there.get(tenant)


def test_an_erasure_while_others_make_the_first_key_is_the_last_word(opened: Opener) -> None:
    for turn in range(10):
        name = f"tenant {turn}"
        first, second = opened(), opened()
        start = threading.Barrier(2)

        def make(store: SideStore = first, name: str = name, start: threading.Barrier = start) -> None:
            start.wait()
            with suppress(TenantErased):
                TenantKeys(store, MASTER).get(name)

        thread = threading.Thread(target=make)
        thread.start()
        start.wait()
        TenantKeys(second, MASTER).erase(name)
        thread.join(20)
        assert first.wrapped_key(name) == second.wrapped_key(name) == (None,)


def test_bundles_are_kept_by_what_is_in_them_until_nobody_needs_them(opened: Opener) -> None:
    store, other = BundleStore(opened()), BundleStore(opened())
    first, second = store.put(b"an archive" * 1_000), store.put(b"another")
    assert store.put(b"another") == second == hashlib.sha256(b"another").hexdigest()
    assert other.get(first) == b"an archive" * 1_000
    assert other.get("ab" * 32) is None
    assert store.tidy([]) == 0, "the record that names it may be on its way"
    side = opened()
    assert side.drop_bundles([second], 2**52) == 1
    assert (other.get(first), other.get(second)) == (None, b"another")
    with pytest.raises(SideError, match="at most"):
        store.put(bytes(MAX_ARCHIVE + 1))


def test_an_archive_that_was_changed_is_not_handed_out(opened: Opener) -> None:
    class Changed:
        def __init__(self, side: SideStore) -> None:
            self._side = side

        def __getattr__(self, name: str) -> object:
            return getattr(self._side, name)

        def bundle(self, digest: str) -> bytes | None:
            return (self._side.bundle(digest) or b"") + b"!"

    side = opened()
    digest = BundleStore(side).put(b"an archive")
    with pytest.raises(SideError, match="was changed"):
        BundleStore(cast("SideStore", Changed(side))).get(digest)
