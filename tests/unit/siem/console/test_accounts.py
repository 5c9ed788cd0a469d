"""Accounts: one link opens one account once, every change is in the log before it counts, nobody is locked out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from lineage.errors import LogUnavailable
from lineage.local import open_log
from lineage.record import decode, encode
from lineage.settings import Lineage
from lineage.state import metadata
from siem.console.accounts import MOST_INVITATIONS, Accounts
from siem.console.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from siem.console.sessions import Sessions
from siem.console.tables import ACCOUNTS, CHANGES, INVITATIONS
from tests.support.states import StatePlace

PASSWORD = "correct horse battery staple"
OTHER = "another password entirely"
HOUR_MS = 3_600_000


class Bench:
    """Accounts on a real state database and a real log that this test writes itself; `now` is the clock."""

    def __init__(self, engine: Engine, log: Any) -> None:
        self.engine = engine
        self.log = log
        self.now = 1_700_000_000_000
        self.down = False
        self._turn = threading.Lock()
        self.accounts = Accounts(engine, self.append, "control-0-TEST", clock=lambda: self.now)
        self.sessions = Sessions(engine, longest_ms=12 * HOUR_MS, idle_ms=HOUR_MS, clock=lambda: self.now)

    def append(self, record: Any) -> int:
        if self.down:
            raise LogUnavailable("the log writer is away")
        with self._turn:
            return int(self.log.append(encode(record)))

    def records(self) -> list[dict[str, Any]]:
        return [dict(decode(data)) for _, data in self.log.reader.read(0, 1_000)]

    def first(self, name: str = "root") -> None:
        token = self.accounts.first_link()
        assert token is not None
        self.accounts.accept(token, name, PASSWORD)

    def join(self, name: str, *roles: str, by: str = "root") -> None:
        self.accounts.accept(self.accounts.invite(name, roles, by), "", PASSWORD)

    def session(self, name: str) -> str:
        stored = self.accounts.check(name, PASSWORD)
        assert stored is not None
        token = self.sessions.start(name, "127.0.0.1", password=stored, record=lambda: None)
        assert token is not None
        return token


@pytest.fixture
def bench(tmp_path: Path, state_place: StatePlace) -> Iterator[Bench]:
    engine = state_place.open()
    with open_log(tmp_path, Lineage()) as log:
        yield Bench(engine, log)
    engine.dispose()


# One-time links


def test_there_is_no_account_and_no_password_until_somebody_opens_one(bench):
    assert bench.accounts.all() == []
    assert not bench.accounts.any()
    for name in ("admin", "root", "cordon", ""):
        for password in ("admin", "password", "cordon", ""):
            assert bench.accounts.check(name, password) is None


def test_the_first_link_opens_an_admin_account_and_leaves_a_record(bench):
    token = bench.accounts.first_link()
    account = bench.accounts.accept(token, "root", PASSWORD)
    assert (account.name, account.roles, account.active) == ("root", ("admin",), True)
    record = bench.records()[-1]
    assert (record["kind"], record["account"], record["roles"]) == ("admin.account_created", "root", ["admin"])
    assert bench.accounts.check("root", PASSWORD)


def test_a_link_works_once(bench):
    token = bench.accounts.first_link()
    bench.accounts.accept(token, "root", PASSWORD)
    with pytest.raises(NotFound):
        bench.accounts.accept(token, "mallory", PASSWORD)
    with pytest.raises(NotFound):
        bench.accounts.invitation(token)
    assert [account.name for account in bench.accounts.all()] == ["root"]


def test_of_many_who_use_the_first_link_at_the_same_moment_one_gets_in(bench):
    token = bench.accounts.first_link()
    start = threading.Barrier(8)

    def attempt(number: int) -> str:
        start.wait()
        try:
            return bench.accounts.accept(token, f"user{number}", PASSWORD).name
        except Exception as error:
            return type(error).__name__

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(attempt, range(8)))
    assert len(bench.accounts.all()) == 1, results
    assert sum(name.startswith("user") for name in results) == 1
    assert [record["kind"] for record in bench.records()] == ["admin.account_created"]


def test_two_first_links_cannot_open_two_accounts(bench):
    older = bench.accounts.first_link()
    newer = bench.accounts.first_link()
    with pytest.raises(NotFound):
        bench.accounts.accept(older, "mallory", PASSWORD)
    bench.accounts.accept(newer, "root", PASSWORD)
    assert bench.accounts.first_link() is None


def test_a_first_link_is_void_once_there_is_an_account_however_it_came(bench):
    token = bench.accounts.first_link()
    with bench.engine.begin() as connection:
        row = connection.execute(select(INVITATIONS)).one()
    bench.accounts.accept(token, "root", PASSWORD)
    with bench.engine.begin() as connection:
        connection.execute(INVITATIONS.update().values(used_at=None).where(INVITATIONS.c.digest == row.digest))
    with pytest.raises(NotFound):
        bench.accounts.accept(token, "mallory", PASSWORD)


def test_a_link_expires(bench):
    token = bench.accounts.first_link()
    bench.now += 24 * HOUR_MS - 1
    assert bench.accounts.invitation(token).purpose == "first"
    bench.now += 1
    with pytest.raises(NotFound):
        bench.accounts.invitation(token)
    with pytest.raises(NotFound):
        bench.accounts.accept(token, "root", PASSWORD)


def test_a_link_that_expires_while_the_password_is_hashed_is_not_used(bench):
    token = bench.accounts.first_link()
    lookup = bench.accounts.invitation

    def late(given: str):
        found = lookup(given)
        bench.now += 25 * HOUR_MS
        return found

    bench.accounts.invitation = late
    with pytest.raises(NotFound):
        bench.accounts.accept(token, "root", PASSWORD)
    assert not bench.accounts.any()


def test_looking_at_a_link_does_not_use_it_up(bench):
    token = bench.accounts.first_link()
    for _ in range(3):
        assert bench.accounts.invitation(token).account == ""
    bench.accounts.accept(token, "root", PASSWORD)


def test_the_token_of_a_link_is_stored_nowhere(bench, tmp_path, state_place):
    token = bench.accounts.first_link()
    bench.accounts.accept(token, "root", PASSWORD)
    invited = bench.accounts.invite("ana", ["analyst"], "root")
    files = [*tmp_path.glob("cordon*.db*"), *state_place.path.parent.glob("cordon*.db*")]
    kept = {str(file): file.read_bytes() for file in files}
    with bench.engine.connect() as connection:
        kept |= {name: str(connection.execute(select(it)).all()).encode() for name, it in metadata.tables.items()}
    assert b"analyst" in kept["operator_invitations"]
    for place, data in kept.items():
        for secret in (token, invited, PASSWORD):
            assert secret.encode() not in data, place


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "' OR 1=1", "\ud800", "a" * 100_000])
def test_a_made_up_link_opens_nothing(bench, token):
    bench.accounts.first_link()
    with pytest.raises(NotFound):
        bench.accounts.accept(token, "root", PASSWORD)


def test_an_invitation_decides_name_and_roles_not_the_invited(bench):
    bench.first()
    token = bench.accounts.invite("ana", ["viewer", "analyst", "viewer"], "root")
    account = bench.accounts.accept(token, "root", PASSWORD)
    assert (account.name, account.roles) == ("ana", ("analyst", "viewer"))
    assert bench.records()[-2]["change"] == "invited"
    assert bench.records()[-1]["by"] == "root"


def test_a_later_invitation_for_the_same_name_voids_the_earlier(bench):
    bench.first()
    older = bench.accounts.invite("ana", ["admin"], "root")
    newer = bench.accounts.invite("ana", ["viewer"], "root")
    with pytest.raises(NotFound):
        bench.accounts.accept(older, "", PASSWORD)
    assert bench.accounts.accept(newer, "", PASSWORD).roles == ("viewer",)


@pytest.mark.parametrize("roles", [[], ["root"], ["viewer", "superuser"], [""], ["viewer,admin"]])
def test_roles_are_those_of_the_table(bench, roles):
    bench.first()
    with pytest.raises(Invalid, match="roles"):
        bench.accounts.invite("ana", roles, "root")
    with pytest.raises(Invalid, match="roles"):
        bench.accounts.change_roles("root", roles, "root")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a\n", "<b>", "x" * 64, "cli", "detector", "one-time-link"])
def test_a_name_that_the_log_could_mistake_is_refused(bench, name):
    token = bench.accounts.first_link()
    with pytest.raises(Invalid):
        bench.accounts.accept(token, name, PASSWORD)
    assert not bench.accounts.any()
    bench.accounts.accept(token, "root", PASSWORD)
    with pytest.raises(Invalid):
        bench.accounts.invite(name, ["viewer"], "root")


def test_open_links_are_few_at_once(bench):
    bench.first()
    for number in range(MOST_INVITATIONS - 1):
        bench.accounts.invite(f"user{number}", ["viewer"], "root")
    with pytest.raises(Conflict, match="links"):
        bench.accounts.invite("one-more", ["viewer"], "root")
    bench.now += 25 * HOUR_MS
    bench.accounts.invite("one-more", ["viewer"], "root")
    assert [link.account for link in bench.accounts.open_invitations()] == ["one-more"]


# Changes


def test_a_password_is_stored_as_argon2id_only(bench):
    bench.first()
    with bench.engine.connect() as connection:
        stored = connection.execute(select(ACCOUNTS.c.password)).scalar_one()
    assert stored.startswith("$argon2id$v=19$")


def test_a_disabled_account_is_out_at_once_with_its_sessions_and_links(bench):
    bench.first()
    bench.join("ana", "admin")
    token = bench.session("ana")
    link = bench.accounts.invite("friend", ["admin"], "ana")
    reset = bench.accounts.reset_link("ana", "root")
    bench.accounts.disable("ana", "root")
    assert bench.sessions.find(token, active=True) is None
    assert bench.accounts.check("ana", PASSWORD) is None
    for void in (link, reset):
        with pytest.raises(NotFound):
            bench.accounts.accept(void, "", OTHER)
    with pytest.raises(Conflict):
        bench.accounts.disable("ana", "root")
    bench.accounts.enable("ana", "root")
    assert bench.sessions.find(token, active=True) is None
    assert bench.accounts.check("ana", PASSWORD)
    assert [record.get("change") for record in bench.records()[-2:]] == ["disabled", "enabled"]


def test_fewer_roles_count_from_the_next_request_and_void_the_links_made_with_them(bench):
    bench.first()
    bench.join("ana", "admin")
    token = bench.session("ana")
    link = bench.accounts.invite("friend", ["admin"], "ana")
    bench.accounts.change_roles("ana", ["viewer"], "root")
    session = bench.sessions.find(token, active=True)
    assert session.roles == ("viewer",)
    with pytest.raises(NotFound):
        bench.accounts.accept(link, "", PASSWORD)


def test_a_reset_link_changes_the_password_ends_sessions_and_keeps_the_roles(bench):
    bench.first()
    bench.join("ana", "analyst")
    token = bench.session("ana")
    link = bench.accounts.reset_link("ana", "root")
    assert bench.accounts.check("ana", PASSWORD), "until it is used, nothing has changed"
    account = bench.accounts.accept(link, "root", OTHER)
    assert (account.name, account.roles) == ("ana", ("analyst",))
    assert bench.sessions.find(token, active=True) is None
    assert bench.accounts.check("ana", PASSWORD) is None
    assert bench.accounts.check("ana", OTHER)
    with pytest.raises(NotFound):
        bench.accounts.accept(link, "", PASSWORD)


def test_an_own_password_change_needs_the_old_one_and_ends_sessions(bench):
    bench.first()
    token = bench.session("root")
    with pytest.raises(Forbidden):
        bench.accounts.change_password("root", OTHER, OTHER)
    with pytest.raises(Invalid):
        bench.accounts.change_password("root", PASSWORD, "short")
    bench.accounts.change_password("root", PASSWORD, OTHER)
    assert bench.sessions.find(token, active=True) is None
    assert bench.accounts.check("root", OTHER)


def test_the_last_active_admin_stays(bench):
    bench.first()
    bench.join("ana", "admin")
    bench.accounts.disable("ana", "root")
    for action in (
        lambda: bench.accounts.disable("root", "root"),
        lambda: bench.accounts.change_roles("root", ["viewer"], "root"),
    ):
        with pytest.raises(Conflict, match="last active admin"):
            action()
    assert bench.accounts.all()[1].roles == ("admin",)


def test_two_admins_who_disable_each_other_at_the_same_moment_leave_one(bench):
    bench.first()
    bench.join("ana", "admin")
    start = threading.Barrier(2)

    def attempt(name: str, by: str) -> bool:
        start.wait()
        try:
            bench.accounts.disable(name, by)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(attempt, "ana", "root"), pool.submit(attempt, "root", "ana")]
    assert sorted(one.result() for one in done) == [False, True]
    assert sum(account.active for account in bench.accounts.all()) == 1


@pytest.mark.parametrize("name", ["nobody", "", "'; DROP TABLE operator_accounts; --"])
def test_what_is_not_there_cannot_be_changed(bench, name):
    bench.first()
    for action in (
        lambda: bench.accounts.disable(name, "root"),
        lambda: bench.accounts.enable(name, "root"),
        lambda: bench.accounts.change_roles(name, ["viewer"], "root"),
        lambda: bench.accounts.reset_link(name, "root"),
    ):
        with pytest.raises(NotFound):
            action()


# The log is away


def test_without_the_log_nothing_changes(bench):
    bench.first()
    bench.join("ana", "analyst")
    link = bench.accounts.invite("bob", ["viewer"], "root")
    reset = bench.accounts.reset_link("ana", "root")
    before, invitations = bench.accounts.all(), bench.accounts.open_invitations()
    bench.down = True
    for action in (
        lambda: bench.accounts.accept(link, "", PASSWORD),
        lambda: bench.accounts.accept(reset, "", OTHER),
        lambda: bench.accounts.invite("eve", ["admin"], "root"),
        lambda: bench.accounts.disable("ana", "root"),
        lambda: bench.accounts.change_roles("ana", ["admin"], "root"),
        lambda: bench.accounts.change_password("root", PASSWORD, OTHER),
    ):
        with pytest.raises(LogUnavailable):
            action()
    assert bench.accounts.all() == before
    assert bench.accounts.open_invitations() == invitations
    assert bench.accounts.check("root", PASSWORD)
    bench.down = False
    assert bench.accounts.accept(link, "", PASSWORD).name == "bob", "the link was not used up by the failure"


def test_a_change_is_not_visible_before_its_record_is_durable(bench):
    bench.first()
    seen = []

    def append(record):
        with bench.engine.connect() as connection:
            seen.append(connection.execute(select(ACCOUNTS.c.name)).scalars().all())
        return bench.append(record)

    accounts = Accounts(bench.engine, append, "control-0-TEST", clock=lambda: bench.now)
    accounts.accept(bench.accounts.invite("ana", ["viewer"], "root"), "", PASSWORD)
    assert seen == [["root"]]
    assert bench.accounts.known("ana")


def test_the_state_database_holds_no_more_than_digests_of_sessions(bench):
    bench.first()
    token = bench.session("root")
    with bench.engine.connect() as connection:
        rows = connection.execute(text("SELECT * FROM operator_sessions")).all()
    assert token not in str(rows)
    assert len(rows) == 1


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300, "", "a b", "'; DROP TABLE operator_accounts; --"])
def test_a_name_that_no_account_can_have_is_the_request_s_mistake_and_finds_nothing(bench, name):
    bench.first()
    assert bench.accounts.check(name, PASSWORD) is None
    assert not bench.accounts.known(name)
    with pytest.raises(Invalid):
        bench.accounts.invite(name, ["viewer"], "root")
    with pytest.raises(Invalid):
        bench.accounts.invite("ana", ["viewer"], name)
    for change in (bench.accounts.disable, bench.accounts.enable, bench.accounts.reset_link):
        with pytest.raises(NotFound):
            change(name, "root")
    assert [one.name for one in bench.accounts.all()] == ["root"] and bench.accounts.open_invitations() == []


def test_without_the_row_that_changes_queue_on_nothing_is_changed(bench):
    bench.first()
    with bench.engine.begin() as connection:
        connection.execute(CHANGES.delete())
    with pytest.raises(Unavailable, match="restore"):
        bench.accounts.disable("root", "cli")
    with pytest.raises(Unavailable):
        bench.accounts.first_link()
    assert bench.accounts.check("root", PASSWORD)
