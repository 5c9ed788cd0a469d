"""The history of the state's tables, on both databases."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text

from detectors import alerts, follower
from lineage import state_upgrade
from lineage.errors import LogUnavailable
from lineage.state import metadata, open_state
from lineage.state_upgrade import MIGRATIONS, head, version
from playbooks import turn
from siem.console import tables
from tests.support.states import StatePlace

DECLARED = (alerts.table, follower.places, turn.TERMS, tables.CHANGES)
"""Naming one table of each module loads all that declare any."""


def test_the_history_is_one_line_and_its_last_file_is_its_head() -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    assert script.get_heads() == [head()]
    files = {revision.revision: Path(str(revision.path)).name for revision in script.walk_revisions()}
    assert all(name.startswith(f"{revision}_") for revision, name in files.items())


def test_what_the_history_makes_is_what_the_modules_declare(state_place: StatePlace) -> None:
    assert all(table.metadata is metadata for table in DECLARED)
    with state_place.open().connect() as connection:
        assert version(connection) == head()
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_second_start_changes_nothing(state_place: StatePlace) -> None:
    with state_place.open().begin() as connection:
        connection.execute(tables.CHANGES.update().values(serial=7))
    with state_place.open().connect() as connection:
        assert connection.execute(select(tables.CHANGES)).all() == [(1, 7)]


def test_threads_that_start_together_make_the_tables_once(state_place: StatePlace) -> None:
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: state_place.open(), range(4)))
    with engines[0].connect() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.CHANGES)) == 1


def _open(path: Path, database: str) -> None:
    open_state(path, database).dispose()


def test_processes_that_start_together_make_the_tables_once(state_place: StatePlace) -> None:
    context = multiprocessing.get_context("spawn")
    started = [context.Process(target=_open, args=(state_place.path, state_place.database)) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0, 0]
    with state_place.open().connect() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.CHANGES)) == 1


def test_a_state_of_a_newer_program_is_refused_and_stays_as_it_is(state_place: StatePlace) -> None:
    with state_place.open().begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9999'"))
    with pytest.raises(LogUnavailable, match=r"v9999.*newer program"):
        state_place.open()
    with state_place.opened[0].connect() as connection:
        assert version(connection) == "v9999"


def test_an_upgrade_that_fails_leaves_nothing_behind(state_place: StatePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    run = state_upgrade._run

    def fails(connection: object) -> None:
        run(connection)  # type: ignore[arg-type]
        raise LogUnavailable("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(LogUnavailable, match="disk is full"):
        patch.setattr(state_upgrade, "_run", fails)
        state_place.open()
    with state_place.open().connect() as connection:
        assert version(connection) == head()
