"""One running control server for each test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.console import Console, Operator, running_console


@pytest.fixture(scope="module")
def console() -> Iterator[Console]:
    with running_console() as running:
        yield running


@pytest.fixture(scope="module")
def admin(console: Console) -> Operator:
    return console.signed_in("root", "admin")


@pytest.fixture(scope="module")
def analyst(console: Console, admin: Operator) -> Operator:
    return console.signed_in("ana", "analyst")


@pytest.fixture(scope="module")
def viewer(console: Console, admin: Operator) -> Operator:
    return console.signed_in("vic", "viewer")
