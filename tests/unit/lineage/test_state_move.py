"""The state's way from SQLite to PostgreSQL: everything, once, and nothing where it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, func, insert, select, update

from cordon.commands.log import STATE
from detectors.alerts import table as alerts
from detectors.follower import places
from lineage.errors import LogUnavailable
from lineage.state import metadata, open_state
from lineage.state_move import copy_state
from siem.console.tables import ACCOUNTS, CHANGES, SESSIONS
from tests.support.postgres import Postgres

ROWS = 2_345


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state with more rows than are copied at once, and names that the databases sort differently."""
    engine = open_state(tmp_path / "cordon.db")
    with engine.begin() as connection:
        for name in ("Zoe", "ana", "_x", "éa"):
            row = {"name": name, "password": f"hash of {name}", "roles": "viewer", "active": True, "created_at": 2**40}
            connection.execute(insert(ACCOUNTS).values(row))
        texts = dict.fromkeys(("detector", "severity", "tenant", "subject_type", "subject", "state", "changed_by"), "x")
        numbers = dict.fromkeys(("raised_at", "count", "since", "until", "changed_at"), 2**50)
        rows = [
            {"id": f"{'aZ_é'[n % 4]}{n}", "log_index": n, "summary": "\ufffd\n", "evidence": "[1]"} | texts | numbers
            for n in range(ROWS)
        ]
        connection.execute(insert(alerts), rows)
        connection.execute(insert(places).values(name="d", version=1, next_index=7, snapshot=b"\0\xff{}"))
        connection.execute(update(CHANGES).values(serial=9))
    engine.dispose()
    return tmp_path / "cordon.db"


def dumped(engine: Engine) -> dict[str, set[tuple[object, ...]]]:
    with engine.connect() as connection:
        found = {table.name: {tuple(row) for row in connection.execute(select(table)).all()} for table in STATE}
    engine.dispose()
    return found


def test_all_tables_move_but_for_whose_turn_it_is() -> None:
    assert {table.name for table in metadata.tables.values()} == {table.name for table in STATE} | {"soc_term"}


def test_what_arrives_is_what_was_there_and_a_second_time_changes_nothing(
    path: Path, postgres_server: Postgres
) -> None:
    database = postgres_server.database()
    assert copy_state(path, database, STATE) == 4 + ROWS + 1 + 1
    before = dumped(open_state(path))
    assert dumped(open_state(path, database)) == before
    assert len(before["alerts"]) == ROWS
    assert copy_state(path, database, STATE) == 4 + ROWS + 1 + 1
    assert dumped(open_state(path, database)) == before


def test_a_database_that_is_in_use_is_refused_and_stays_as_it_is(path: Path, postgres_server: Postgres) -> None:
    database = postgres_server.database()
    engine = open_state(path, database)
    with engine.begin() as connection:
        row = {"digest": "d", "account": "eve", "started_at": 1, "seen_at": 1, "source": "x"}
        connection.execute(insert(SESSIONS).values(row))
    with pytest.raises(LogUnavailable, match="operator_sessions"):
        copy_state(path, database, STATE)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(ACCOUNTS)) == 0
        assert connection.scalar(select(func.count()).select_from(SESSIONS)) == 1
    engine.dispose()


def test_where_there_is_no_state_there_is_nothing_to_move(tmp_path: Path, postgres_server: Postgres) -> None:
    assert copy_state(tmp_path / "none.db", postgres_server.database(), STATE) == 0
    assert not (tmp_path / "none.db").exists()
