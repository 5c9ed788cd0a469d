"""Where the side tables lie, by the setting `database`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lineage.errors import LogUnavailable
from lineage.postgres_side import PostgresSide
from lineage.postgres_tokens import PostgresTokens
from lineage.side_place import SidePlace
from lineage.sqlite_side import SqliteSide
from lineage.tokens import TokenStore
from tests.support.postgres import Postgres, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.mark.parametrize("database", ["", "sqlite:///elsewhere/cordon.db"])
def test_without_postgresql_they_lie_in_the_data_directory(tmp_path: Path, database: str) -> None:
    place = SidePlace(tmp_path, database)
    assert not place.remote and not place.exists() and str(tmp_path) in place.name
    with closing(place.side()) as side, closing(place.tokens(most=5)) as tokens:
        assert isinstance(side, SqliteSide) and isinstance(tokens, TokenStore)
    assert place.exists()


def test_with_postgresql_they_lie_there_and_nothing_in_the_data_directory(server: Postgres, tmp_path: Path) -> None:
    place = SidePlace(tmp_path, server.database())
    assert place.remote and not place.exists()
    with closing(place.side()) as side, closing(place.tokens(most=5)) as tokens:
        assert isinstance(side, PostgresSide) and isinstance(tokens, PostgresTokens)
        assert side.wrapped_key("acme") is None
    assert place.exists() and not list(tmp_path.iterdir())
    assert server.password not in place.name + repr(place)


def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable) as told:
        SidePlace(tmp_path, "postgresql://cordon:hunter2@127.0.0.1:1/log").exists()
    assert "hunter2" not in str(told.value)
