"""One running control server for each test module; hashes cost little except where hashing is what is tested."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from siem.console import passwords
from tests.support.console import Console, Operator, running_console


@pytest.fixture(scope="module", autouse=True)
def cheap_hashes(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition(".")[2] != "test_passwords":
            patch.setattr(passwords, "MEMORY_KIB", 64)
            patch.setattr(passwords, "_NOBODY", passwords.hash_password("nobody's own password"))
        yield


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


@pytest.fixture(scope="module")
def author(console: Console, admin: Operator) -> Operator:
    return console.signed_in("paula", "policy_author")


@pytest.fixture(scope="module")
def approver(console: Console, admin: Operator) -> Operator:
    return console.signed_in("app", "approver")
