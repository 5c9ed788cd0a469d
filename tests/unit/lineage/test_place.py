"""Where the log lies, by the setting `database`."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage.errors import LogUnavailable
from lineage.ledger import Ledger, writer_lock
from lineage.place import LogPlace, is_postgres
from tests.support.logs import QUICK
from tests.support.postgres import postgres


@pytest.mark.parametrize(
    ("database", "remote"),
    [("", False), ("sqlite:///x/postgresql://", False), ("postgresql://h/d", True), ("postgres://h/d", True)],
)
def test_only_a_postgresql_address_leads_out_of_the_data_directory(database: str, remote: bool, tmp_path: Path) -> None:
    assert is_postgres(database) is remote
    assert LogPlace(tmp_path, database).remote is remote
    assert (str(tmp_path) in LogPlace(tmp_path, database).name) is not remote


def test_no_password_is_shown(tmp_path: Path) -> None:
    place = LogPlace(tmp_path, "postgresql://cordon:hunter2@db.example/log")
    assert "hunter2" not in f"{place!r} {place.name}"


def test_a_new_log_is_not_begun_where_there_was_one_under_the_same_key(tmp_path: Path) -> None:
    """Neither in an empty database while the log still lies in the file, nor in one that took the place of another."""
    with postgres() as server, writer_lock(tmp_path):
        Ledger(tmp_path, QUICK).close()
        empty = server.database()
        with pytest.raises(LogUnavailable, match="cordon log move"):
            Ledger(tmp_path, QUICK, empty)
        (tmp_path / "cordon-log.db").unlink()
        with pytest.raises(LogUnavailable, match="is gone, but"):
            Ledger(tmp_path, QUICK, empty)
        assert not LogPlace(tmp_path, empty).exists()
