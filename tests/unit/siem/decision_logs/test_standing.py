"""Where destinations are, as it is told without asking them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from siem.decision_logs.delivery import Cursor
from siem.decision_logs.settings import DecisionLog
from siem.decision_logs.standing import SCAN, Standing, standings
from tests.support import records
from tests.support.followed import StoreLog
from tests.support.states import StatePlace

SIEM = DecisionLog(id="siem", file=Path("siem.jsonl"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[StoreLog]:
    log = StoreLog(tmp_path / "log.db")
    with closing(log.store):
        yield log


@pytest.fixture
def state(state_place: StatePlace) -> Engine:
    return state_place.open()


def only(state: Engine, log: StoreLog, settings: DecisionLog = SIEM) -> Standing:
    (found,) = standings([settings], state, log.store)
    return found


def test_the_age_is_that_of_the_first_record_behind_the_cursor_that_may_be_an_event(
    state: Engine, log: StoreLog
) -> None:
    now = int(time.time() * 1000)
    for record in (
        records.intent(now - 900_000),
        records.record("process.started", now - 800_000),
        records.outcome(now - 700_000, 0),
        records.intent(now),
    ):
        log.put(record)
    Cursor(state, "siem", lambda _: None).store(1, "")
    found = only(state, log)
    assert (found.begun, found.behind, found.lost, found.late) == (True, 3, "", True)
    assert 700 <= found.age_seconds < 800


def test_what_is_no_event_makes_nobody_late(state: Engine, log: StoreLog) -> None:
    for _ in range(SCAN + 1):
        log.put(records.record("process.started", 1))
    Cursor(state, "siem", lambda _: None).store(0, "")
    found = only(state, log)
    assert (found.behind, found.age_seconds, found.late) == (SCAN + 1, 0.0, False)


def test_a_destination_that_has_everything_lacks_nothing_also_where_the_log_was_restored_shorter(
    state: Engine, log: StoreLog
) -> None:
    log.put(records.intent(1))
    for place in (1, 40):
        Cursor(state, "siem", lambda _: None).store(place, "")
        assert only(state, log) == Standing("siem", True, 0, 0.0, "")


def test_why_it_is_lost_is_told_and_other_destinations_and_followers_are_their_own(
    state: Engine, log: StoreLog
) -> None:
    log.put(records.intent(1))
    Cursor(state, "siem", lambda _: None).store(0, "unauthorized")
    Cursor(state, "siem2", lambda _: None).store(1, "")
    found = standings([SIEM, SIEM.model_copy(update={"id": "siem2"})], state, log.store)
    assert [(each.destination, each.lost, each.behind) for each in found] == [
        ("siem", "unauthorized", 1), ("siem2", "", 0),
    ]  # fmt: skip


def test_a_new_destination_is_behind_as_its_setting_says(state: Engine, log: StoreLog) -> None:
    log.put(records.intent(1))
    assert (only(state, log).begun, only(state, log).behind) == (False, 1)
    assert only(state, log, SIEM.model_copy(update={"begin": "now"})).behind == 0


def test_a_state_database_without_tables_is_one_where_nothing_was_delivered(tmp_path: Path, log: StoreLog) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    assert not only(engine, log).begun
    engine.dispose()
