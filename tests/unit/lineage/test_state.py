"""The state database and the settings of the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, text
from sqlalchemy.exc import IntegrityError

from lineage.errors import LogUnavailable
from lineage.settings import Lineage
from lineage.state import open_state
from tests.support.postgres import Postgres


def test_the_state_database_is_durable_private_and_keeps_its_references(tmp_path: Path) -> None:
    metadata = MetaData()
    Table("owners", metadata, Column("id", Integer, primary_key=True))
    Table("owned", metadata, Column("owner", Integer, ForeignKey("owners.id")))
    engine = open_state(tmp_path / "var" / "cordon.db")
    metadata.create_all(engine)
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        with pytest.raises(IntegrityError):
            connection.execute(text("INSERT INTO owned VALUES (7)"))
    engine.dispose()
    assert (tmp_path / "var" / "cordon.db").stat().st_mode & 0o777 == 0o600
    open_state(tmp_path / "var" / "cordon.db").dispose()


def test_on_postgresql_a_commit_is_durable_bounded_in_time_and_in_a_schema_of_its_own(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    database = postgres_server.database()
    with postgres_server.connect(database) as admin:
        admin.execute(f"ALTER DATABASE {database.rpartition('/')[2]} SET synchronous_commit = off")
    engine = open_state(tmp_path / "cordon.db", database)
    with engine.connect() as connection:
        shown = {
            name: connection.scalar(text(f"SHOW {name}"))
            for name in ("synchronous_commit", "search_path", "lock_timeout", "transaction_isolation")
        }
        assert shown == {
            "synchronous_commit": "on",
            "search_path": "cordon_state",
            "lock_timeout": "4500ms",
            "transaction_isolation": "read committed",
        }
    assert postgres_server.password not in repr(engine) + str(engine.url)
    engine.dispose()
    assert not (tmp_path / "cordon.db").exists()


def test_a_state_database_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogUnavailable, match="file"):
        open_state(tmp_path / "file" / "cordon.db")


@pytest.mark.parametrize(
    "setting",
    [
        {"origin": "a b"},
        {"origin": "a+b"},
        {"origin": "a\nb"},
        {"origin": "x" * 129},
        {"checkpoint_seconds": 0},
        {"checkpoint_seconds": 61},
        {"batch": 0},
        {"queue": 0},
        {"policy_inputs_days": 0},
        {"unheard_of": 1},
    ],
)
def test_a_setting_out_of_its_range_is_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Lineage.model_validate(setting)


def test_the_settings_as_they_come_are_fine() -> None:
    settings = Lineage()
    assert settings.origin == ""
    with pytest.raises(ValidationError):
        settings.origin = "changed"
