"""The state database and the settings of the log."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, text
from sqlalchemy.exc import IntegrityError

from lineage import state
from lineage.errors import LogUnavailable
from lineage.settings import Lineage
from lineage.state import open_state


def test_the_state_database_is_durable_private_and_keeps_its_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = MetaData()
    Table("owners", metadata, Column("id", Integer, primary_key=True))
    Table("owned", metadata, Column("owner", Integer, ForeignKey("owners.id")))
    monkeypatch.setattr(state, "metadata", metadata)
    engine = open_state(tmp_path / "var" / "cordon.db")
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        with pytest.raises(IntegrityError):
            connection.execute(text("INSERT INTO owned VALUES (7)"))
    engine.dispose()
    assert (tmp_path / "var" / "cordon.db").stat().st_mode & 0o777 == 0o600
    open_state(tmp_path / "var" / "cordon.db").dispose()


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
