"""What is special about the log on PostgreSQL; what it has in common with others is in tests/contracts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from lineage.control import ControlState
from lineage.errors import LogUnavailable
from lineage.postgres_store import PostgresSource, PostgresStore, log_exists
from tests.support.postgres import Postgres, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def database(server: Postgres) -> str:
    return server.database()


def test_a_reader_makes_nothing(server: Postgres, database: str) -> None:
    with pytest.raises(LogUnavailable, match="there is no log in the PostgreSQL database"):
        PostgresSource(database)
    assert not log_exists(database)
    PostgresStore(database).close()
    assert log_exists(database)


def test_a_reader_cannot_write(database: str) -> None:
    PostgresStore(database).close()
    with closing(PostgresSource(database)) as source, pytest.raises(LogUnavailable, match="read-only"):
        source._session.rows("UPDATE cordon.log SET term = 0")


def test_a_log_of_another_version_is_left_alone(server: Postgres, database: str) -> None:
    PostgresStore(database).close()
    with server.connect(database) as db:
        db.execute("UPDATE cordon.log SET version = 2")
    for kind in (PostgresSource, PostgresStore):
        with pytest.raises(LogUnavailable, match="schema 2, not 1"):
            kind(database)


def test_tables_of_somebody_else_are_left_alone(server: Postgres, database: str) -> None:
    with server.connect(database) as db:
        db.execute(f"SET ROLE {db.info.dbname}; CREATE SCHEMA cordon; CREATE TABLE cordon.records (theirs text)")
    with pytest.raises(LogUnavailable, match="records"):
        PostgresStore(database)
    with server.connect(database) as db:
        assert db.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'cordon'").fetchall() == [("records",)]


def test_a_user_without_rights_is_told_which(server: Postgres, database: str) -> None:
    with server.connect(database) as db:
        db.execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 'g'")
    guest = f"postgresql://guest:g@{database.partition('@')[2]}"
    with pytest.raises(LogUnavailable, match="CREATE on the database"):
        PostgresStore(guest)


def test_an_index_that_would_leave_a_gap_is_refused(database: str) -> None:
    with closing(PostgresStore(database)) as store:
        assert store.append(1, [b"a"]) is None
        store.append(0, [b"a"])
        assert store.size() == 1


def test_a_record_that_was_put_in_beside_the_writer_is_found_at_the_next_append(
    server: Postgres, database: str
) -> None:
    with closing(PostgresStore(database)) as store:
        store.append(0, [b"a"])
        with server.connect(database) as db:
            db.execute("INSERT INTO cordon.records VALUES (1, 'theirs')")
        with pytest.raises(LogUnavailable, match="cordon log verify"):
            store.append(1, [b"b"])
        assert store.read(0, 5) == [(0, b"a"), (1, b"theirs")]


def test_damaged_control_state_is_an_error_and_no_empty_state(server: Postgres, database: str) -> None:
    with closing(PostgresStore(database)) as store:
        assert store.control() == ControlState()
        with server.connect(database) as db:
            db.execute("INSERT INTO cordon.control VALUES ('key', 'k', '{}')")
        with pytest.raises(LogUnavailable, match="control state is damaged"):
            store.control()


def test_what_is_written_together_is_there_whole_or_not_at_all(database: str) -> None:
    with closing(PostgresStore(database)) as store, closing(PostgresSource(database)) as source:
        with pytest.raises(ValueError), store.together():
            store.append(0, [b"a"])
            raise ValueError
        assert source.size() == 0
        assert store.elect()
        with store.together():
            store.append(0, [b"a"])
            store.save_checkpoint(1, b"n", {(0, 0): b"t" * 32})
            assert source.size() == 0
        assert source.size() == 1
        assert source.checkpoint() == (1, b"n")


def test_a_database_in_another_encoding_is_refused(server: Postgres) -> None:
    with server.connect() as db:
        db.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
    with pytest.raises(LogUnavailable, match="LATIN1"):
        PostgresStore(server.address("latin"))


@pytest.mark.parametrize("table", ["records", "checkpoints", "log"])
def test_a_table_that_a_crash_would_empty_is_refused(server: Postgres, database: str, table: str) -> None:
    PostgresStore(database).close()
    with server.connect(database) as db:
        db.execute(f"ALTER TABLE cordon.{table} SET UNLOGGED")
    with pytest.raises(LogUnavailable, match=f"ALTER TABLE cordon.{table} SET LOGGED"):
        PostgresStore(database)
    with server.connect(database) as db:
        db.execute(f"ALTER TABLE cordon.{table} SET LOGGED")
    PostgresStore(database).close()
