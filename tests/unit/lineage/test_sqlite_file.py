"""Files that several processes open and make at the same moment."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from lineage import sqlite_file
from lineage.sqlite_file import write_ahead
from lineage.sqlite_side import SqliteSide
from lineage.sqlite_store import SqliteStore
from lineage.state import open_state
from lineage.tokens import TokenStore


def _side(path: Path) -> None:
    SqliteSide(path).close()


def _tokens(path: Path) -> None:
    TokenStore(path, most=1).close()


def _state(path: Path) -> None:
    open_state(path).dispose()


@pytest.mark.parametrize(("opened", "rounds"), [(_side, 60), (_tokens, 60), (_state, 6)])
def test_all_who_open_a_new_file_at_the_same_moment_get_it(
    tmp_path: Path, opened: Callable[[Path], None], rounds: int
) -> None:
    many = 12
    for turn in range(rounds):
        start = threading.Barrier(many)

        def use(path: Path, start: threading.Barrier = start) -> None:
            start.wait(30)
            opened(path)

        with ThreadPoolExecutor(many) as pool:
            for done in [pool.submit(use, tmp_path / f"{turn}.db") for _ in range(many)]:
                done.result()


def test_a_write_ahead_log_waits_for_whoever_has_the_file(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.2, holder.rollback)
    release.start()
    with closing(sqlite3.connect(tmp_path / "a.db", timeout=0)) as db:
        write_ahead(db.execute)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    release.join()
    holder.close()


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_WAL_SECONDS", 0.05)
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with (
            closing(sqlite3.connect(tmp_path / "a.db", timeout=0)) as db,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            write_ahead(db.execute)


def _open_and_close_elsewhere(path: Path) -> None:
    """As a command does that uses the file of a Cordon at work: the last who closes it folds the write-ahead log."""
    code = f"import sqlite3; db = sqlite3.connect({str(path)!r}); db.execute('SELECT * FROM sqlite_master'); db.close()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def _seen_elsewhere(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as other:
        return other.execute(query).fetchall()


def test_what_a_process_writes_after_others_came_and_went_is_there_for_all(tmp_path: Path) -> None:
    """A worker opens two stores on one file; a lock of the first must not go with what opening the second does."""
    path = tmp_path / "side.db"
    with closing(SqliteSide(path)) as side, closing(TokenStore(path, most=1)):
        _open_and_close_elsewhere(path)
        side.add_wrapped_key("acme", b"wrapped")
        assert _seen_elsewhere(path, "SELECT tenant FROM tenant_keys") == [("acme",)]


def test_the_state_of_a_process_that_opened_it_twice_is_there_for_all(tmp_path: Path) -> None:
    path = tmp_path / "cordon.db"
    first = open_state(path)
    with first.connect() as held:
        open_state(path).dispose()
        _open_and_close_elsewhere(path)
        held.exec_driver_sql("UPDATE soc_term SET term = 7")
        held.commit()
        assert _seen_elsewhere(path, "SELECT term FROM soc_term") == [(7,)]
    first.dispose()


def test_a_log_that_was_deleted_does_not_come_back_empty(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "log.db")) as store:
        store.append(0, [b"{}"])
        (tmp_path / "log.db").unlink()
        store._copy_back_beside()
        assert not (tmp_path / "log.db").exists()
