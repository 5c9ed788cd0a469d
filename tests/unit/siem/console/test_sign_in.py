"""Signing in: guessing is slow from every side, failures are counted in the log, and nothing is told of who exists."""

from __future__ import annotations

import time

import pytest

from lineage.errors import LogUnavailable
from siem.console import sign_in as module
from siem.console.errors import NotSignedIn, Throttled
from siem.console.sign_in import MOST_FAILURE_KINDS, Failures, SignIn
from tests.support.console import PASSWORD


class Journal:
    """Takes records, or is away."""

    boot = "control-0-TEST"

    def __init__(self) -> None:
        self.records: list[dict[str, object]] = []
        self.down = False

    def stamp(self):
        from lineage.actions import Stamp

        return Stamp.now(self.boot)

    def append(self, record):
        if self.down:
            raise LogUnavailable("away")
        self.records.append(record)
        return len(self.records)


class Accounts:
    """Knows ana's password, without the cost of a real hash."""

    def __init__(self) -> None:
        self.checks = 0

    def check(self, name, password):
        self.checks += 1
        return "stored" if (name, password) == ("ana", PASSWORD) else None

    def known(self, name):
        return name == "ana"


class Sessions:
    """Hands out numbered tokens."""

    def start(self, account, source, *, password, record):
        record()
        return f"token of {account}"


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
def door(journal, accounts) -> SignIn:
    return SignIn(accounts, Sessions(), journal)  # type: ignore[arg-type]


def wrong(door: SignIn, name: str, source: str, times: int = 1) -> list[str]:
    outcomes = []
    for _ in range(times):
        try:
            door.sign_in(name, "wrong password", source)
        except (NotSignedIn, Throttled) as error:
            outcomes.append(type(error).__name__)
    return outcomes


def test_the_right_password_begins_a_session_and_is_recorded(door, journal):
    assert door.sign_in("ana", PASSWORD, "203.0.113.9") == "token of ana"
    assert [(one["kind"], one["account"], one["source"]) for one in journal.records] == [
        ("admin.signed_in", "ana", "203.0.113.9")
    ]


def test_a_wrong_password_and_an_unknown_account_are_told_the_same(door):
    told = set()
    for name in ("ana", "nobody"):
        with pytest.raises(NotSignedIn) as caught:
            door.sign_in(name, "wrong password", "203.0.113.9")
        told.add((caught.value.detail, caught.value.status, caught.value.field))
    assert len(told) == 1


@pytest.mark.parametrize("name", ["ana", "nobody"])
def test_after_five_wrong_passwords_the_pair_waits_and_no_password_is_looked_at(door, accounts, name):
    assert wrong(door, name, "203.0.113.9", 7) == ["NotSignedIn"] * 5 + ["Throttled"] * 2
    assert accounts.checks == 5
    with pytest.raises(Throttled) as caught:
        door.sign_in(name, PASSWORD, "203.0.113.9")
    assert 0 < int(caught.value.headers["retry-after"]) <= 300


def test_one_source_that_tries_many_names_waits_too(door, accounts):
    for number in range(30):
        wrong(door, f"user{number}", "203.0.113.9")
    assert accounts.checks == 20
    assert door.sign_in("ana", PASSWORD, "203.0.113.10")


def test_one_network_of_ipv6_is_one_source(door, accounts):
    for number in range(30):
        wrong(door, f"user{number}", f"2001:db8::{number:x}")
    assert accounts.checks == 20


def test_many_sources_that_try_one_name_wait_together(door, accounts):
    for number in range(130):
        wrong(door, "ana", f"198.51.100.{number}")
    assert accounts.checks == 100


def test_guessing_from_elsewhere_does_not_lock_the_owner_out_of_the_usual_place(door):
    door.sign_in("ana", PASSWORD, "203.0.113.9")
    for number in range(130):
        wrong(door, "ana", f"198.51.100.{number}")
    assert door.sign_in("ana", PASSWORD, "203.0.113.9")
    with pytest.raises(Throttled):
        door.sign_in("ana", PASSWORD, "192.0.2.1")


def test_a_neighbour_who_guesses_does_not_lock_out_who_signed_in_from_the_same_address_before(door):
    door.sign_in("ana", PASSWORD, "203.0.113.9")
    for number in range(30):
        wrong(door, f"user{number}", "203.0.113.9")
    assert door.sign_in("ana", PASSWORD, "203.0.113.9")


def test_attempts_that_are_turned_away_do_not_use_up_the_names_share(door, accounts):
    wrong(door, "ana", "203.0.113.9", 500)
    assert accounts.checks == 5
    assert door.sign_in("ana", PASSWORD, "192.0.2.1")


def test_signing_in_rightly_many_times_is_no_failure(door):
    for _ in range(30):
        assert door.sign_in("ana", PASSWORD, "203.0.113.9")


def test_without_the_log_nobody_is_signed_in_and_it_is_no_failure_of_theirs(door, journal):
    journal.down = True
    for _ in range(10):
        with pytest.raises(LogUnavailable):
            door.sign_in("ana", PASSWORD, "203.0.113.9")
    journal.down = False
    assert door.sign_in("ana", PASSWORD, "203.0.113.9")


def test_the_places_that_are_trusted_are_bounded(door, monkeypatch):
    monkeypatch.setattr(module, "MOST_TRUSTED", 10)
    for number in range(30):
        door.sign_in("ana", PASSWORD, f"198.51.100.{number}")
    assert len(door._trusted) == 10


def test_failures_are_added_up_by_source_and_account_and_name_no_unknown_account(door, journal):
    wrong(door, "ana", "203.0.113.9", 3)
    wrong(door, "hunter2hunter2", "203.0.113.9", 2)
    door.failures.report(journal)
    found = {(one.get("account"), one["source"]): one["count"] for one in journal.records}
    assert found == {("ana", "203.0.113.9"): 3, (None, "203.0.113.9"): 2}
    assert "hunter2" not in str(journal.records)
    door.failures.report(journal)
    assert len(journal.records) == 2


def test_a_flood_of_failures_makes_a_bounded_number_of_records(journal):
    failures = Failures()
    for number in range(10_000):
        failures.count(f"10.0.{number // 250}.{number % 250}", "")
    failures.report(journal)
    assert len(journal.records) == MOST_FAILURE_KINDS + 1
    assert sum(int(str(one["count"])) for one in journal.records) == 10_000
    assert any(one["source"] == "elsewhere" for one in journal.records)


def test_failures_that_the_log_did_not_take_are_kept_and_added_to(journal):
    failures = Failures()
    failures.count("203.0.113.9", "ana")
    journal.down = True
    with pytest.raises(LogUnavailable):
        failures.report(journal)
    failures.count("203.0.113.9", "ana")
    journal.down = False
    failures.report(journal)
    assert [one["count"] for one in journal.records] == [2]


def test_guessing_the_present_password_in_a_stolen_session_is_braked(door, monkeypatch):
    tried = []

    def refuse(name, old, new):
        tried.append(old)
        raise NotSignedIn("wrong")

    monkeypatch.setattr(door._accounts, "change_password", refuse, raising=False)
    for number in range(8):
        with pytest.raises((NotSignedIn, Throttled)):
            door.change_password("ana", f"guess {number}", "new password here")
    assert len(tried) == 5


def test_a_source_that_is_no_address_is_still_a_source(door, journal):
    wrong(door, "ana", "")
    door.failures.report(journal)
    assert journal.records[0]["source"] == "unknown"
    assert time.time() * 1000 - int(str(journal.records[0]["at"])) < 60_000
