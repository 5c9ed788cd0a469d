"""Tenants' keys, blobs, bundles and tokens that move from SQLite to PostgreSQL, once or again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lineage.errors import LogUnavailable, TenantErased
from lineage.ledger import writer_lock
from lineage.move import move_log
from lineage.paths import Paths
from lineage.place import LogPlace
from lineage.postgres_side import PostgresSide
from lineage.postgres_tokens import PostgresTokens
from lineage.reader import open_reader
from lineage.side import TenantKeys, blob_digest, seal, unseal
from lineage.side_move import Beside, blobs_in, copy_side
from lineage.side_place import SidePlace
from lineage.sqlite_side import SqliteSide
from lineage.tokens import Kept, Scope, TokenStore
from lineage.verify import verify
from tests.support.postgres import Postgres, postgres
from tests.support.records import intent
from tests.support.written import written

MASTER = bytes(range(32))
BOB = Scope("acme/bob", b"b" * 16)
NOW = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def database(server: Postgres) -> str:
    return server.database()


def kept(name: str, *, loose: bool = False) -> Kept:
    return Kept(name, name.encode().ljust(16, b"."), loose, b"sealed " + name.encode())


def fill(path: Path) -> bytes:
    """Two tenants, one erased, some blobs, and tokens of which one has expired; the sealed blob of acme."""
    with closing(SqliteSide(path)) as side, closing(TokenStore(path, most=50)) as tokens:
        keys = TenantKeys(side, MASTER)
        blob = seal(keys.get("acme"), "acme", b"an input")
        keys.get("gone")
        keys.erase("gone")
        side.add_bundle(NOW, b"an archive")
        side.save([(NOW - 1_000 + number, b"blob %d" % number) for number in range(2_500)] + [(NOW, blob)])
        tokens.keep(BOB, [kept("a"), kept("b", loose=True)], NOW, NOW + 86_400_000)
        tokens.keep(BOB, [kept("old")], NOW - 9_000, NOW - 1_000)
    return blob


def test_all_that_is_of_use_is_the_same_on_the_other_side(tmp_path: Path, database: str) -> None:
    path = tmp_path / "side.db"
    blob = fill(path)
    told: list[int] = []
    assert blobs_in(path) == 2_501
    for _ in range(2):  # Once more is once.
        assert copy_side(path, database, told.append) == Beside(2, 2_501, 2)
    assert sum(told) == 2 * 2_501
    with closing(PostgresSide(database)) as side, closing(PostgresTokens(database, most=50)) as tokens:
        keys = TenantKeys(side, MASTER)
        assert side.bundle(hashlib.sha256(b"an archive").hexdigest()) == b"an archive"
        found = side.load(blob_digest(blob))
        assert found is not None and unseal(keys.get("acme"), "acme", found) == b"an input"
        with pytest.raises(TenantErased):
            keys.get("gone")
        assert tokens.find(BOB, "a", NOW) == kept("a") and tokens.find(BOB, "old", NOW - 5_000) is None
        assert tokens.loose(BOB, NOW) == [kept("b", loose=True)]
        assert [side.forget(NOW - 500, limit=1_000), side.forget(NOW, limit=2_000)] == [500, 500]


def test_what_happened_on_the_other_side_since_stays(tmp_path: Path, database: str) -> None:
    path = tmp_path / "side.db"
    fill(path)
    copy_side(path, database, lambda _: None)
    with closing(PostgresSide(database)) as side:
        side.erase_key("acme")
    copy_side(path, database, lambda _: None)
    with closing(PostgresSide(database)) as side:
        assert side.wrapped_key("acme") == (None,), "erased is for ever"


def test_an_erasure_goes_along_even_where_the_other_side_has_a_key(tmp_path: Path, database: str) -> None:
    fill(tmp_path / "side.db")
    with closing(PostgresSide(database)) as side:
        side.add_wrapped_key("gone", b"another")
        copy_side(tmp_path / "side.db", database, lambda _: None)
        assert side.wrapped_key("gone") == (None,)


def test_a_tenant_with_another_key_there_is_refused_before_anything_is_written(tmp_path: Path, database: str) -> None:
    fill(tmp_path / "side.db")
    with closing(PostgresSide(database)) as side:
        side.add_wrapped_key("acme", b"another")
        with pytest.raises(LogUnavailable, match="another key of tenant acme"):
            copy_side(tmp_path / "side.db", database, lambda _: None)
        assert side.wrapped_key("acme") == (b"another",) and side.wrapped_key("gone") is None
        assert side.load(blob_digest(b"blob 1")) is None


def test_no_file_is_nothing_to_copy(tmp_path: Path, database: str) -> None:
    assert (copy_side(tmp_path / "none", database, lambda _: None), blobs_in(tmp_path / "none")) == (Beside(), 0)
    assert not (tmp_path / "none").exists()


def quiet(_count: int) -> None:
    pass


def test_a_log_moves_together_with_what_lies_beside_it(database: str) -> None:
    with written([intent(1, side=blob_digest(b"blob 1")), intent(2, side=blob_digest(b"lost"))]) as log:
        path = Paths(log.data_dir).side
        fill(path)
        log.reader.close()
        with writer_lock(log.data_dir):
            moved = move_log(log.data_dir, database, quiet, quiet, quiet)
        assert (moved.records, moved.tenants, moved.blobs, moved.tokens) == (2, 2, 2_501, 2)
        assert not path.exists() and path.with_name(path.name + ".moved").exists()
        place = SidePlace(log.data_dir, database)
        assert place.exists()
        with open_reader(log.data_dir, database) as reader, closing(place.side()) as side:
            report = verify(reader, [log.verifier], side=side)
        assert not report.wrong and "1 blobs beside the log that are no longer there" in report.unchecked


def test_a_log_whose_keys_contradict_the_database_is_not_moved(database: str) -> None:
    with written([intent(1)]) as log:
        fill(Paths(log.data_dir).side)
        log.reader.close()
        with closing(PostgresSide(database)) as side:
            side.add_wrapped_key("acme", b"another")
        with writer_lock(log.data_dir), pytest.raises(LogUnavailable, match="tenant acme"):
            move_log(log.data_dir, database, quiet, quiet, quiet)
        assert LogPlace(log.data_dir).exists() and Paths(log.data_dir).side.exists()
        with open_reader(log.data_dir, database) as reader:
            assert reader.size() == 0
