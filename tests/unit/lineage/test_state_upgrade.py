"""The history of the state's tables, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, text

from cordon import roles
from detectors import alerts, follower
from lineage.errors import LogUnavailable
from lineage.state import metadata, open_state
from lineage.state_upgrade import MIGRATIONS, head, version
from playbooks import turn
from siem.console import tables
from tests.support.states import State, states

DECLARING = (roles, alerts, follower, turn, tables)
"""Loading these declares every table."""


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    with states(request.param, tmp_path) as made:
        yield made


def test_the_history_is_one_line_and_its_last_file_is_its_head() -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    assert script.get_heads() == [head()]
    names = {Path(str(revision.path)).name: revision.revision for revision in script.walk_revisions()}
    assert all(name.startswith(f"{revision}_") for name, revision in names.items())


def test_what_the_history_makes_is_what_the_modules_declare(state: State) -> None:
    engine = state.open()
    with engine.connect() as connection:
        assert version(connection) == head()
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
