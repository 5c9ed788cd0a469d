"""What lies beside the log: sealed blobs, keyed digests, tenants' keys, retention and erasure."""

from __future__ import annotations

import hmac
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lineage.errors import LogUnavailable, SideError
from lineage.side import SideStore, TenantKey, TenantKeys, blob_digest, content_digest, seal, unseal
from lineage.sqlite_side import SqliteSide

MASTER = bytes(range(32))
KEY = TenantKey.derive(b"k" * 32)
OTHER = TenantKey.derive(b"o" * 32)
TENANT = "acme"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SideStore]:
    side = SqliteSide(tmp_path / "side.db")
    yield side
    side.close()


@pytest.mark.parametrize("data", [b"", b"x", b"input" * 10_000])
def test_a_sealed_blob_opens_with_its_key_and_tenant(data: bytes) -> None:
    blob = seal(KEY, TENANT, data)
    assert unseal(KEY, TENANT, blob) == data
    assert len(blob) == len(data) + 29
    assert data not in blob or len(data) < 2


def test_sealing_twice_gives_different_bytes() -> None:
    assert seal(KEY, TENANT, b"same") != seal(KEY, TENANT, b"same")


def test_a_sealed_blob_opens_with_nothing_else() -> None:
    blob = seal(KEY, TENANT, b"secret")
    with pytest.raises(SideError):
        unseal(OTHER, TENANT, blob)
    with pytest.raises(SideError):
        unseal(KEY, "acme2", blob)


@pytest.mark.parametrize("position", [0, 1, 12, 13, 20, -1])
def test_a_changed_blob_does_not_open(position: int) -> None:
    blob = bytearray(seal(KEY, TENANT, b"secret"))
    blob[position] ^= 1
    with pytest.raises(SideError):
        unseal(KEY, TENANT, bytes(blob))


@pytest.mark.parametrize("blob", [b"", b"\x01", b"\x01" * 12, b"\x01" * 28])
def test_a_cut_blob_does_not_open(blob: bytes) -> None:
    with pytest.raises(SideError):
        unseal(KEY, TENANT, blob)


def test_a_content_digest_is_equal_for_equal_content_of_one_tenant_only() -> None:
    assert content_digest(KEY, b"a") == content_digest(KEY, b"a")
    assert (
        len({content_digest(KEY, b"a"), content_digest(KEY, b"b"), content_digest(OTHER, b"a"), blob_digest(b"a")}) == 4
    )
    assert len(content_digest(KEY, b"a")) == 64


def test_no_content_has_the_sealing_key_for_its_digest() -> None:
    """The digest of chosen content is published in records: it must never be a key."""
    blob = seal(KEY, "call", b"content")
    for purpose in (b"cordon sealing", b"cordon digesting", b"sealing", b""):
        digest = bytes.fromhex(content_digest(KEY, purpose))
        with pytest.raises(InvalidTag):
            AESGCM(digest).decrypt(blob[1:13], blob[13:], b"call")
        assert content_digest(KEY, b"a") != hmac.digest(digest, b"a", "sha256").hex()


def test_a_key_shows_nothing_of_itself() -> None:
    assert KEY.redacting.hex() not in repr(KEY)
    assert str(KEY.redacting) not in repr(KEY)


def test_blobs_are_kept_by_their_digest(store: SideStore) -> None:
    store.save([(1_000, b"five"), (2_000, b"nine")])
    assert store.load(blob_digest(b"five")) == b"five"
    assert store.load(blob_digest(b"nine")) == b"nine"
    assert store.load(blob_digest(b"six")) is None


def test_a_blob_that_comes_again_is_kept_from_then_on(store: SideStore) -> None:
    store.save([(1_000, b"again"), (2_000, b"once"), (3_000, b"again")])
    assert store.forget(3_000) == 1
    assert store.load(blob_digest(b"once")) is None
    assert store.load(blob_digest(b"again")) == b"again"


def test_blobs_are_forgotten_by_age_in_bounded_steps(store: SideStore) -> None:
    store.save([(number * 1_000, b"blob %d" % number) for number in range(100)])
    assert store.forget(50_000, limit=30) == 30
    assert store.forget(50_000, limit=30) == 20
    assert store.forget(50_000, limit=30) == 0
    assert store.load(blob_digest(b"blob 49")) is None
    assert store.load(blob_digest(b"blob 50")) == b"blob 50"


def test_the_file_is_for_its_owner_only(tmp_path: Path, store: SideStore) -> None:
    assert (tmp_path / "side.db").stat().st_mode & 0o777 == 0o600


def test_a_failed_save_keeps_nothing_and_says_why(tmp_path: Path, store: SideStore) -> None:
    with pytest.raises(LogUnavailable, match=r"side\.db"):
        store.save([(1, b"a"), (None, b"b")])  # type: ignore[list-item]
    assert store.load(blob_digest(b"a")) is None
    store.save([(1, b"a")])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailable, match="file"):
        SqliteSide(tmp_path / "file" / "side.db")


def test_a_tenant_gets_a_key_of_its_own_and_keeps_it(tmp_path: Path, store: SideStore) -> None:
    keys = TenantKeys(store, MASTER)
    assert keys.get("acme") == keys.get("acme")
    assert keys.get("acme") != keys.get("globex")
    with closing(SqliteSide(tmp_path / "side.db")) as again:
        assert TenantKeys(again, MASTER).get("acme") == keys.get("acme")


def test_a_stored_key_is_wrapped_and_bound_to_its_tenant(tmp_path: Path, store: SideStore) -> None:
    keys = TenantKeys(store, MASTER)
    keys.get("acme")
    keys.get("globex")
    with closing(sqlite3.connect(tmp_path / "side.db")) as db:
        wrapped = dict(db.execute("SELECT tenant, wrapped FROM tenant_keys"))
        db.execute("UPDATE tenant_keys SET wrapped = ? WHERE tenant = 'globex'", (wrapped["acme"],))
        db.commit()
    assert all(len(blob) == 60 for blob in wrapped.values())
    with pytest.raises(SideError, match=r"master\.key"):
        TenantKeys(store, MASTER).get("globex")


def test_another_master_key_opens_nothing(store: SideStore) -> None:
    TenantKeys(store, MASTER).get("acme")
    with pytest.raises(SideError, match=r"master\.key"):
        TenantKeys(store, b"\x07" * 32).get("acme")


def test_threads_that_race_for_the_first_use_agree(tmp_path: Path) -> None:
    start = threading.Barrier(6)

    def use(_: int) -> bytes:
        with closing(SqliteSide(tmp_path / "side.db")) as own:
            start.wait(30)
            return TenantKeys(own, MASTER).get("acme")

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(use, range(6)))) == 1


def test_erasing_a_tenant_destroys_its_key_for_ever(tmp_path: Path, store: SideStore) -> None:
    keys = TenantKeys(store, MASTER)
    blob = seal(keys.get("acme"), TENANT, b"secret")
    kept = keys.get("globex")
    with closing(sqlite3.connect(tmp_path / "side.db")) as db:
        wrapped = db.execute("SELECT wrapped FROM tenant_keys WHERE tenant = 'acme'").fetchone()[0]
    keys.erase("acme")
    for again in (keys, TenantKeys(store, MASTER)):
        with pytest.raises(SideError, match="destroyed"):
            again.get("acme")
        assert again.get("globex") == kept
    assert blob_digest(blob)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.glob("side.db*"))
    assert wrapped not in on_disk, "the wrapped key must not survive in the file or its write-ahead log"


def test_a_tenant_that_never_had_a_key_can_be_erased_too(store: SideStore) -> None:
    keys = TenantKeys(store, MASTER)
    keys.erase("ghost")
    with pytest.raises(SideError):
        keys.get("ghost")


def test_an_erasure_reaches_other_processes_when_what_they_remember_runs_out(store: SideStore) -> None:
    elsewhere = TenantKeys(store, MASTER, seconds=0.0)
    elsewhere.get("acme")
    TenantKeys(store, MASTER).erase("acme")
    with pytest.raises(SideError):
        elsewhere.get("acme")


def test_what_is_remembered_is_bounded(store: SideStore) -> None:
    keys = TenantKeys(store, MASTER, remember=3)
    for number in range(10):
        keys.get(f"tenant-{number}")
        assert len(keys._known) <= 3


def test_a_key_whose_time_is_over_is_let_go_of(store: SideStore) -> None:
    keys = TenantKeys(store, MASTER, seconds=0.05)
    keys.get("acme")
    keys.sweep()
    assert list(keys._known) == ["acme"]
    threading.Event().wait(0.06)
    keys.sweep()
    assert not keys._known
