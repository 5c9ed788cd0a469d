"""Two machines on one state database, at the same moment: each promise of accounts and sessions holds between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from lineage.record import encode
from siem.console import sessions as sessions_module
from siem.console.accounts import Accounts
from siem.console.errors import ConsoleError, Forbidden, NotFound
from siem.console.sessions import MOST_PER_ACCOUNT, Sessions
from siem.console.tables import ACCOUNTS, CHANGES, SESSIONS
from tests.support.states import StatePlace

PASSWORD = "correct horse battery staple"
OTHER = "another password entirely"
HOUR_MS = 3_600_000


class Held:
    """A log that, where it is told to, keeps an append waiting: the transaction around it stays open meanwhile."""

    def __init__(self) -> None:
        self.reached, self.free = threading.Event(), threading.Event()
        self.records: list[dict[str, Any]] = []
        self.holding = False

    def append(self, record: Any) -> int:
        encode(record)
        self.records.append(record)
        if self.holding:
            self.reached.set()
            assert self.free.wait(10)
        return len(self.records) - 1


class Node:
    """What one machine has of accounts and sessions; `behind`: its clock, in ms."""

    def __init__(self, engine: Engine, behind: int = 0) -> None:
        self.engine, self.log, self.now = engine, Held(), 1_700_000_000_000 - behind
        self.accounts = Accounts(engine, self.log.append, "control-0-TEST", clock=lambda: self.now)
        self.sessions = Sessions(engine, longest_ms=12 * HOUR_MS, idle_ms=HOUR_MS, clock=lambda: self.now)

    def start(self, name: str = "ana", password: str = PASSWORD) -> str | None:
        stored = self.accounts.check(name, password)
        assert stored is not None
        return self.begin(name, stored)

    def begin(self, name: str, stored: str) -> str | None:
        return self.sessions.start(name, "::1", password=stored, record=lambda: self.log.append(RECORD))


RECORD = {"v": 1, "kind": "admin.signed_in", "at": 1, "boot": "x"}


@pytest.fixture
def nodes(state_place: StatePlace) -> tuple[Node, Node]:
    first, second = Node(state_place.open()), Node(state_place.open())
    token = first.accounts.first_link()
    assert token is not None
    first.accounts.accept(token, "root", PASSWORD)
    first.accounts.accept(first.accounts.invite("ana", ["viewer"], "root"), "", PASSWORD)
    return first, second


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def held_up(node: Node, pool: ThreadPoolExecutor, action: Callable[[], Any]) -> Future[Any]:
    """Begin an action and leave it where its record is being written."""
    node.log.holding = True
    future = pool.submit(action)
    assert node.log.reached.wait(10)
    return future


def count(node: Node, account: str) -> int:
    with node.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(SESSIONS).where(SESSIONS.c.account == account)) or 0


def test_what_one_machine_changes_the_other_knows_at_once(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    token = first.start()
    assert token is not None
    session = second.sessions.find(token, active=True)
    assert session is not None and session.account == "ana"
    second.accounts.disable("ana", "root")
    assert first.sessions.find(token, active=True) is None
    assert first.accounts.check("ana", PASSWORD) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.accounts.disable("ana", "root"),
        lambda node: node.accounts.change_password("ana", PASSWORD, OTHER),
    ],
    ids=["disable", "password"],
)
def test_a_sign_in_beside_a_change_is_ended_by_it(
    nodes: tuple[Node, Node], pool: ThreadPoolExecutor, change: Callable[[Node], object]
) -> None:
    """The session is written and not yet committed when the change comes: it must not survive, hidden until then."""
    first, second = nodes
    beginning = held_up(first, pool, first.start)
    changing = pool.submit(change, second)
    assert not changing.done()
    first.log.free.set()
    token = beginning.result(10)
    changing.result(10)
    with suppress(ConsoleError):
        second.accounts.enable("ana", "root")
    assert token is None or first.sessions.find(token, active=True) is None
    assert count(first, "ana") == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.accounts.disable("ana", "root"),
        lambda node: node.accounts.change_password("ana", PASSWORD, OTHER),
    ],
    ids=["disable", "password"],
)
def test_a_change_beside_a_sign_in_leaves_it_no_session(
    nodes: tuple[Node, Node], pool: ThreadPoolExecutor, change: Callable[[Node], object]
) -> None:
    first, second = nodes
    stored = first.accounts.check("ana", PASSWORD)
    assert stored is not None
    changing = held_up(second, pool, lambda: change(second))
    beginning = pool.submit(first.begin, "ana", stored)
    second.log.free.set()
    changing.result(10)
    assert beginning.result(10) is None
    assert count(first, "ana") == 0 and not any(record is RECORD for record in first.log.records)


def test_a_password_change_loses_to_a_reset_that_came_between(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who knows only the old password must not have the last word."""
    first, second = nodes
    link = second.accounts.reset_link("ana", "root")
    check = first.accounts.check

    def checked(name: str, password: str) -> str | None:
        stored = check(name, password)
        second.accounts.accept(link, "", OTHER)
        return stored

    monkeypatch.setattr(first.accounts, "check", checked)
    with pytest.raises(Forbidden):
        first.accounts.change_password("ana", PASSWORD, "what the thief has chosen")
    assert second.accounts.check("ana", OTHER)


def test_a_link_opens_one_account_on_whichever_machine(nodes: tuple[Node, Node], pool: ThreadPoolExecutor) -> None:
    first, second = nodes
    link = first.accounts.invite("bob", ["viewer"], "root")
    using = [pool.submit(node.accounts.accept, link, "", PASSWORD) for node in (first, second) * 4]
    results = [future.exception(20) for future in using]
    assert [type(error) for error in results if error] == [NotFound] * 7
    assert [one.name for one in first.accounts.all()] == ["ana", "bob", "root"]


def test_two_admins_cannot_disable_each_other(nodes: tuple[Node, Node], pool: ThreadPoolExecutor) -> None:
    first, second = nodes
    for round_ in range(4):
        with suppress(ConsoleError):
            first.accounts.change_roles("ana", ["admin"], "root")
        going = [
            pool.submit(first.accounts.disable, "ana", "root"),
            pool.submit(second.accounts.disable, "root", "ana"),
        ]
        errors = [future.exception(10) for future in going]
        active = [one.name for one in first.accounts.all() if one.active]
        assert len(active) == 1 and sum(error is None for error in errors) == 1, (round_, errors)
        for name in ("ana", "root"):
            with suppress(ConsoleError):
                first.accounts.enable(name, "cli")


def test_changes_at_the_same_moment_all_count(nodes: tuple[Node, Node], pool: ThreadPoolExecutor) -> None:
    first, second = nodes
    with first.engine.connect() as connection:
        before = connection.scalar(select(CHANGES.c.serial)) or 0
    inviting = [
        pool.submit(node.accounts.invite, f"user{n}-{side}", ["viewer"], "root")
        for n in range(8)
        for side, node in enumerate(nodes)
    ]
    assert len({future.result(20) for future in inviting}) == 16
    with first.engine.connect() as connection:
        assert connection.scalar(select(CHANGES.c.serial)) == before + 16
    assert len(second.accounts.open_invitations()) == 16


def test_sign_ins_at_the_same_moment_keep_to_the_most_sessions(
    nodes: tuple[Node, Node], pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MOST_PER_ACCOUNT", 3)
    stored = nodes[0].accounts.check("ana", PASSWORD)
    assert stored is not None
    going = [pool.submit(node.begin, "ana", stored) for node in nodes * 8]
    tokens = [future.result(30) for future in going]
    assert all(tokens) and count(nodes[0], "ana") == 3
    assert sum(nodes[1].sessions.find(token or "", active=False) is not None for token in tokens) == 3


def test_sign_ins_that_find_the_same_sessions_over_do_not_wait_for_each_other(
    nodes: tuple[Node, Node], pool: ThreadPoolExecutor
) -> None:
    """On PostgreSQL, where writers of different rows go on beside each other."""
    first, second = nodes
    for _ in range(5):
        assert first.start()
    first.now = second.now = first.now + 2 * HOUR_MS
    stored = first.accounts.check("root", PASSWORD)
    assert stored is not None
    beginning = held_up(first, pool, first.start)
    other = pool.submit(second.begin, "root", stored)
    if first.engine.dialect.name == "postgresql":
        assert other.result(10)
    first.log.free.set()
    assert beginning.result(10) and other.result(10)
    assert (count(first, "ana"), count(first, "root")) == (1, 1)


def test_a_machine_whose_clock_is_behind_keeps_the_session_that_it_begins(state_place: StatePlace) -> None:
    first, second = Node(state_place.open()), Node(state_place.open(), behind=60_000)
    token = first.accounts.first_link()
    assert token is not None
    first.accounts.accept(token, "root", PASSWORD)
    for _ in range(MOST_PER_ACCOUNT):
        assert first.start("root")
    late = second.start("root")
    assert late is not None and first.sessions.find(late, active=True)
    assert count(first, "root") == MOST_PER_ACCOUNT
    with first.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(ACCOUNTS)) == 1
