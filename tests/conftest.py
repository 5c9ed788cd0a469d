"""What every test run shares: at its end, the real servers that were missing and what went untested for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, postgres
from tests.support.states import NewPlace, StatePlace

MISSING = Path(__file__).parent.parent / ".cache" / "missing"


def missing_servers() -> list[list[str]]:
    """Rows of name, what stays untested and why, as `make servers` wrote them."""
    if not MISSING.exists():
        return []
    return [line.split("\t") for line in MISSING.read_text().splitlines() if line]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A server that CI lacks is a failure: there, everything must have been tested."""
    if missing_servers() and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name them in the last lines."""
    rows = missing_servers()
    if rows:
        terminalreporter.section("not tested: servers that this machine lacks")
    for name, untested, why in rows:
        terminalreporter.line(f"{name}: {untested} went untested; {why}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One server for all tests that only need databases of their own on it."""
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def new_state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewPlace]:
    """Makes places for a state, once in SQLite files and once on PostgreSQL."""
    places: list[StatePlace] = []

    def make() -> StatePlace:
        path = tmp_path_factory.mktemp("state") / "cordon.db"
        server: Postgres | None = None
        if request.param == "postgresql":
            server = request.getfixturevalue("postgres_server")
        places.append(StatePlace(path, server.database() if server else ""))
        return places[-1]

    yield make
    for place in places:
        place.close()
        if place.database:
            request.getfixturevalue("postgres_server").drop(place.database)


@pytest.fixture
def state_place(new_state: NewPlace) -> StatePlace:
    """A place for a state, once in a SQLite file and once on PostgreSQL."""
    return new_state()
