"""What is particular to the store on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lineage import sqlite_file
from lineage.errors import LogUnavailable
from lineage.sqlite_store import SqliteSource, SqliteStore


def test_a_commit_is_an_fsync_and_readers_do_not_block_it(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "log.db")) as store:
        pragma = lambda name: store._db.execute(f"PRAGMA {name}").fetchone()[0]  # noqa: E731
        assert pragma("journal_mode") == "wal"
        assert pragma("synchronous") == 2
        assert pragma("wal_autocheckpoint") == 0
        with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM records").fetchone()
            store.append(0, [b"a"])
            assert reader.execute("SELECT count(*) FROM records").fetchone() == (0,)


def test_a_source_cannot_write(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "log.db").close()
    with (
        closing(SqliteSource(tmp_path / "log.db")) as source,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        source._db.execute("DELETE FROM records")


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "log.db")) as store:
        store.append(0, [b"a"])
        assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}


def test_a_reader_without_a_log_says_how_to_get_one_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="cordon up"):
        SqliteSource(tmp_path / "log.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + b"\0" * 4_080])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.db").write_bytes(content)
    for kind in (SqliteSource, SqliteStore):
        with pytest.raises(LogUnavailable, match=r"log\.db"):
            kind(tmp_path / "log.db")
    assert (tmp_path / "log.db").read_bytes() == content


def test_a_database_of_another_program_or_version_is_refused_unchanged(tmp_path: Path) -> None:
    for name, version in (("foreign.db", 7), ("newer.db", 2)):
        with closing(sqlite3.connect(tmp_path / name)) as db:
            db.execute(f"PRAGMA user_version={version}")
            if name == "newer.db":
                db.execute(f"PRAGMA application_id={sqlite_file.APPLICATION_ID}")
            db.execute("CREATE TABLE theirs (x)")
            db.commit()
        with pytest.raises(LogUnavailable, match=f"schema {version}"):
            SqliteStore(tmp_path / name)
        with closing(sqlite3.connect(tmp_path / name)) as db:
            assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_an_empty_file_is_a_new_log(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"")
    with closing(SqliteStore(tmp_path / "log.db")) as store:
        assert store.size() == 0


def test_the_write_ahead_log_stays_short_under_steady_writing(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "log.db")) as store:
        longest = 0
        for number in range(900):
            store.append(number, [b"x" * 65_000])
            if store.untidy:
                store.tidy()
            longest = max(longest, (tmp_path / "log.db-wal").stat().st_size)
        assert longest < 45_000_000
        assert store.size() == 900


def test_nothing_stays_of_an_append_that_was_interrupted(tmp_path: Path) -> None:
    def records() -> Iterator[bytes]:
        yield b"first"
        raise KeyboardInterrupt

    with closing(SqliteStore(tmp_path / "log.db")) as store:
        with pytest.raises(KeyboardInterrupt):
            store.append(0, records())  # type: ignore[arg-type]
        assert store.size() == 0
        store.append(0, [b"second"])
        assert store.read(0, 10) == [(0, b"second")]


def test_an_error_names_the_file_but_not_where_it_lies(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "log.db")) as store:
        store.append(0, [b"a"])
        with pytest.raises(LogUnavailable) as caught:
            store.append(0, [b"secret record"])
    assert str(caught.value).startswith("log.db: an index is taken already")
    assert str(tmp_path) not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_damaged_page_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "log.db")) as store:
        store.append(0, [b"r" * 1_000 for _ in range(200)])
    data = bytearray((tmp_path / "log.db").read_bytes())
    for page in range(6, len(data) // 4_096):
        data[page * 4_096 : page * 4_096 + 16] = b"\xff" * 16
    (tmp_path / "log.db").write_bytes(data)
    with closing(SqliteSource(tmp_path / "log.db")) as source, pytest.raises(LogUnavailable, match="cordon log verify"):
        source.read(0, 1_000)
