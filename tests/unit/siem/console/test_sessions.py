"""Sessions: unguessable, limited in time and number, and gone with their account."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, func, insert, select, update

from lineage.errors import LogUnavailable
from siem.console.sessions import MOST_PER_ACCOUNT, Sessions, csrf_token
from siem.console.tables import ACCOUNTS, SESSIONS
from tests.support.states import StatePlace

HOUR = 3_600_000
MINUTE = 60_000


class Clock:
    now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(state_place: StatePlace) -> Engine:
    engine = state_place.open()
    with engine.begin() as connection:
        for name in ("ana", "bob"):
            row = {"name": name, "password": f"hash-{name}", "roles": "analyst,viewer", "active": True, "created_at": 0}
            connection.execute(insert(ACCOUNTS).values(row))
    return engine


@pytest.fixture
def sessions(engine: Engine, clock: Clock) -> Sessions:
    return Sessions(engine, longest_ms=12 * HOUR, idle_ms=HOUR, clock=clock)


def start(sessions: Sessions, account: str = "ana") -> str:
    token = sessions.start(account, "127.0.0.1", password=f"hash-{account}", record=lambda: None)
    assert token is not None
    return token


def test_a_session_knows_its_account_as_it_is_now(sessions, clock):
    session = sessions.find(start(sessions), active=True)
    assert (session.account, session.roles, session.ends_at) == ("ana", ("analyst", "viewer"), clock.now + 12 * HOUR)
    assert {one.name for one in session.permissions} == {"VIEW", "TRIAGE", "CONTAIN", "RELEASE"}


def test_tokens_are_256_random_bits_and_never_twice_the_same(sessions):
    tokens = {start(sessions) for _ in range(20)}
    assert len(tokens) == 20
    assert {len(token) for token in tokens} == {43}


def test_a_session_ends_when_nobody_does_anything(sessions, clock):
    token = start(sessions)
    clock.now += HOUR - 1
    assert sessions.find(token, active=True)
    clock.now += HOUR - 1
    assert sessions.find(token, active=True)
    clock.now += HOUR
    assert sessions.find(token, active=True) is None


def test_a_page_that_refreshes_itself_does_not_keep_a_session(sessions, clock):
    token = start(sessions)
    for _ in range(59):
        clock.now += MINUTE
        assert sessions.find(token, active=False)
    clock.now += MINUTE
    assert sessions.find(token, active=False) is None


def test_a_session_ends_after_its_longest_time_however_busy(sessions, clock):
    token = start(sessions)
    for _ in range(12 * 4 - 1):
        clock.now += 15 * MINUTE
        assert sessions.find(token, active=True)
    clock.now += 15 * MINUTE
    assert sessions.find(token, active=True) is None


def test_a_signed_out_session_is_gone_and_the_others_stay(sessions):
    first, second = start(sessions), start(sessions)
    sessions.end(first)
    assert sessions.find(first, active=True) is None
    assert sessions.find(second, active=True)


def test_a_disabled_account_has_no_session(sessions, engine):
    token = start(sessions)
    with engine.begin() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == "ana").values(active=False))
    assert sessions.find(token, active=True) is None


def test_an_account_has_so_many_sessions_at_most_and_the_oldest_ends(sessions, clock, engine):
    other = start(sessions, "bob")
    tokens = []
    for _ in range(MOST_PER_ACCOUNT + 2):
        clock.now += 1
        tokens.append(start(sessions))
    assert [sessions.find(token, active=True) is None for token in tokens[:3]] == [True, True, False]
    assert sessions.find(other, active=True)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(SESSIONS)) == MOST_PER_ACCOUNT + 1


def test_ended_sessions_are_cleared_away(sessions, clock, engine):
    for _ in range(5):
        start(sessions)
    clock.now += 2 * HOUR
    start(sessions, "bob")
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(SESSIONS)) == 1


def test_a_password_changed_or_an_account_disabled_between_check_and_start_gives_no_session(sessions, engine):
    recorded = []
    assert sessions.start("ana", "x", password="an older hash", record=lambda: recorded.append(1)) is None
    with engine.begin() as connection:
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == "bob").values(active=False))
    assert sessions.start("bob", "x", password="hash-bob", record=lambda: recorded.append(1)) is None
    assert sessions.start("nobody", "x", password="hash", record=lambda: recorded.append(1)) is None
    assert recorded == []
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(SESSIONS)) == 0


def test_without_its_record_there_is_no_session(sessions, engine):
    def away() -> None:
        raise LogUnavailable("the log writer is away")

    with pytest.raises(LogUnavailable):
        sessions.start("ana", "x", password="hash-ana", record=away)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(SESSIONS)) == 0


@pytest.mark.parametrize("token", ["", "x", "x" * 42, "x" * 43, "x" * 44, "\ud800" * 43, "%" * 43])
def test_a_made_up_token_is_no_session(sessions, token):
    start(sessions)
    assert sessions.find(token, active=True) is None


def test_the_csrf_token_belongs_to_one_session_and_does_not_show_it(sessions):
    first, second = start(sessions), start(sessions)
    session = sessions.find(first, active=True)
    assert session.csrf == csrf_token(first) != csrf_token(second)
    assert first not in session.csrf
    assert len(session.csrf) == 64
