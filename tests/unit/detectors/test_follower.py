"""Promises of the follower: in order, at least once, each effect once; crashes and dead writers change nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text

from detectors.alert import Alert
from detectors.alerts import AlertTable, find_alert, list_alerts, set_state
from detectors.consumer import Consumer, Emission, Fields
from detectors.follower import Follower, places
from detectors.outbox import Outbox
from detectors.refusal_burst import RefusalBurst
from detectors.settings import Detection
from detectors.settings import RefusalBurst as BurstSettings
from lineage.errors import LogUnavailable
from lineage.metrics import Meter
from tests.support import records
from tests.support.followed import StoreLog
from tests.support.states import NewPlace

SMALL = BurstSettings(threshold=3, window_seconds=60, quiet_seconds=0)


class Marks(Consumer):
    """Raises an alert on every tenth refusal and remembers all that it was shown."""

    name: ClassVar[str] = "marks"
    kinds = frozenset({b"call.refused"})

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.count = 0

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        self.seen.append(index)
        self.count += 1
        if self.count % 10:
            return ()
        return (Alert("marks", "low", "acme", "principal", "acme/b", "ten", (index,), 10, 1, 2).emission(),)

    def snapshot(self) -> Fields:
        return {"count": self.count}

    def restore(self, snapshot: Fields) -> None:
        self.count = int(str(snapshot["count"]))


class Place:
    """A data directory: a log, a state database, and followers that live one after the other."""

    def __init__(self, path: Path, new_state: NewPlace) -> None:
        self.path = path
        self.log = StoreLog(path / "log.db")
        self.state: Engine = new_state().open()

    def follower(self, *consumers: Consumer, settings: Detection | None = None) -> Follower:
        settings = settings or Detection(cursor_seconds=0.001)
        meter, awake = Meter("soc-0"), asyncio.Event()
        outbox = Outbox(self.log, "soc-test", meter)
        self.log.on_append = awake.set
        return Follower(self.log.store, self.state, outbox, [AlertTable(), *consumers], settings, awake, meter)

    def stored(self) -> dict[str, int]:
        with self.state.connect() as connection:
            return {row.name: row.next_index for row in connection.execute(select(places))}

    def alerts(self) -> list[object]:
        return [record["alert"] for record in self.log.records("alert.raised")]


@pytest.fixture
def place(tmp_path: Path, new_state: NewPlace) -> Place:
    return Place(tmp_path, new_state)


async def settle(
    place: Place, *consumers: Consumer, until: int | None = None, detection: Detection | None = None
) -> None:
    """Run a follower until it has seen what there is, and stop it in order."""
    stop, ready = asyncio.Event(), asyncio.Event()
    follower = place.follower(*consumers, settings=detection)
    running = asyncio.create_task(follower.run(stop, ready.set))
    async with asyncio.timeout(8):
        await ready.wait()
        while follower.position < (until or place.log.store.size()):
            await asyncio.sleep(0.005)
        stop.set()
        await running


def test_it_shows_every_record_of_a_kind_in_order_and_only_those(place: Place) -> None:
    marks = Marks()
    place.log.put(*[records.refused(t) if t % 3 else records.intent(t) for t in range(200)])
    asyncio.run(settle(place, marks, detection=Detection(batch=7)))
    assert marks.seen == [t for t in range(200) if t % 3]


def test_it_goes_on_where_it_stopped(place: Place) -> None:
    first, second = Marks(), Marks()
    place.log.put(*[records.refused(t) for t in range(15)])
    asyncio.run(settle(place, first))
    size = place.log.store.size()
    place.log.put(*[records.refused(t) for t in range(5)])
    asyncio.run(settle(place, second))
    assert second.seen == [size + n for n in range(5)]
    assert second.count == 20
    assert len(place.alerts()) == 2


def test_it_is_woken_by_a_commit_without_waiting_for_a_clock(place: Place) -> None:
    async def scenario() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(place.follower(RefusalBurst(SMALL)).run(stop, ready.set))
        await ready.wait()
        await asyncio.sleep(0.05)
        loop = asyncio.get_running_loop()
        began = loop.time()
        place.log.put(*[records.refused(t) for t in range(3)])
        while not place.alerts():
            await asyncio.sleep(0.001)
        assert loop.time() - began < 0.5
        stop.set()
        await running

    asyncio.run(scenario())


def test_an_alert_reaches_the_table_of_alerts_at_once(place: Place) -> None:
    async def scenario() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        slow = Detection(cursor_seconds=60)
        running = asyncio.create_task(place.follower(RefusalBurst(SMALL), settings=slow).run(stop, ready.set))
        await ready.wait()
        place.log.put(*[records.refused(t) for t in range(3)])
        async with asyncio.timeout(3):
            while not list_alerts(place.state):
                await asyncio.sleep(0.01)
        stop.set()
        await running

    asyncio.run(scenario())
    (alert,) = list_alerts(place.state)
    assert (alert.subject, alert.evidence, alert.count, alert.state) == ("acme/ci-bot", (0, 1, 2), 3, "open")


async def crash(place: Place, consumers: Sequence[Consumer], upto: int, *, store: bool, write: bool) -> None:
    """A follower that dies (nothing in memory survives) after it saw `upto` batches of what there is."""
    follower = place.follower(*consumers, settings=Detection(batch=5, cursor_seconds=0.001))
    follower.restore(place.log.store.size(), follower.stored())
    for _ in range(upto):
        follower.observe_batch()
        if write:
            await follower._write()
        if store:
            follower._store_if_due()
            if follower._storing is not None:
                await follower._storing


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    crashes=st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.booleans()), max_size=4),
    lost=st.integers(0, 3),
)
def test_wherever_it_crashes_every_alert_is_written_exactly_once(
    tmp_path_factory: pytest.TempPathFactory,
    new_state: NewPlace,
    crashes: list[tuple[int, bool, bool]],
    lost: int,
) -> None:
    place = Place(tmp_path_factory.mktemp("crash"), new_state)
    place.log.put(*[records.refused(t * 1000, f"acme/bot{t % 2}") for t in range(40)])
    for upto, store, write in crashes:
        asyncio.run(crash(place, [RefusalBurst(SMALL), Marks()], upto, store=store, write=write))
    place.log.lost_acks = lost
    asyncio.run(settle(place, RefusalBurst(SMALL), Marks()))
    alerts = place.alerts()
    assert len(alerts) == len(set(alerts)) == 6 * 2 + 4
    assert {alert.id for alert in list_alerts(place.state)} == set(alerts)
    place.log.store.close()
    place.state.dispose()


def test_a_place_is_stored_as_it_was_when_nothing_waited_to_be_written(place: Place) -> None:
    """A store that has been begun must not take up what is observed before its task runs, and is not yet written."""

    async def scenario() -> None:
        follower = place.follower(RefusalBurst(SMALL))
        follower.restore(0, follower.stored())
        place.log.put(records.refused(1))
        follower.observe_batch()
        follower._store_if_due()
        place.log.put(records.refused(2), records.refused(3))
        follower.observe_batch()
        assert follower._storing is not None and len(follower._outbox) == 1
        await follower._storing

    asyncio.run(scenario())
    assert place.stored()["refusal_burst"] == 1, "the burst is complete only with what came after"
    asyncio.run(settle(place, RefusalBurst(SMALL)))
    assert len(place.alerts()) == 1, "a crash before the alert was written must not lose it"


def test_while_the_writer_is_away_alerts_wait_and_the_place_is_not_stored(place: Place) -> None:
    async def scenario() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        follower = place.follower(RefusalBurst(SMALL))
        running = asyncio.create_task(follower.run(stop, ready.set))
        await ready.wait()
        place.log.down = True
        place.log.put(*[records.refused(t) for t in range(3)])
        while follower.position < 3:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        assert place.stored().get("refusal_burst", 0) == 0
        place.log.down = False
        async with asyncio.timeout(3):
            while not place.alerts():
                await asyncio.sleep(0.01)
        stop.set()
        await running

    asyncio.run(scenario())
    assert len(place.alerts()) == 1
    assert place.stored()["refusal_burst"] >= 3, "behind the evidence, now that its alert is written"


def test_a_locked_state_database_delays_no_alert_and_the_table_only_while_it_is_locked(place: Place) -> None:
    async def scenario() -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(place.follower(RefusalBurst(SMALL)).run(stop, ready.set))
        await ready.wait()
        with place.state.connect() as other:
            sqlite = other.dialect.name == "sqlite"
            other.execute(text("BEGIN IMMEDIATE" if sqlite else "LOCK TABLE followers, alerts IN EXCLUSIVE MODE"))
            began = asyncio.get_running_loop().time()
            place.log.put(*[records.refused(t) for t in range(6)])
            while len(place.alerts()) < 2:
                await asyncio.sleep(0.001)
            place.log.put(*[records.refused(t) for t in range(3)])
            while len(place.alerts()) < 3:
                await asyncio.sleep(0.001)
            assert asyncio.get_running_loop().time() - began < 1.0
            await asyncio.sleep(0.6)
            other.rollback()
        async with asyncio.timeout(2):  # not longer for the time that the lock took
            while len(list_alerts(place.state)) < 3:
                await asyncio.sleep(0.02)
        stop.set()
        await running

    asyncio.run(scenario())


class Stumbles(Marks):
    name = "stumbles"

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        super().observe(index, kind, record)
        if index == 1:
            raise ValueError("what is this")
        return ()


def test_a_detector_that_fails_on_a_record_goes_on_and_takes_no_other_with_it(place: Place) -> None:
    stumbles = Stumbles()
    place.log.put(*[records.refused(t) for t in range(3)])
    asyncio.run(settle(place, stumbles, RefusalBurst(SMALL)))
    assert stumbles.seen == [0, 1, 2]
    assert len(place.alerts()) == 1


def test_an_unreadable_log_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([True, True, False])

    def read(start: int, limit: int) -> list[tuple[int, bytes]]:
        if next(failures, False):
            raise LogUnavailable("disk gone")
        return store_read(start, limit)

    store_read = place.log.store.read
    monkeypatch.setattr(place.log.store, "read", read)
    place.log.put(*[records.refused(t) for t in range(3)])
    asyncio.run(settle(place, RefusalBurst(SMALL)))
    assert len(place.alerts()) == 1


def test_a_new_detector_looks_back_a_bounded_way_and_the_alert_table_all_the_way(
    place: Place, new_state: NewPlace
) -> None:
    place.log.put(*[records.refused(t) for t in range(3)])
    asyncio.run(settle(place, RefusalBurst(SMALL)))
    place.log.put(*[records.intent(t) for t in range(100)])
    marks = Marks()
    place.state = new_state().open()
    asyncio.run(settle(place, marks, detection=Detection(lookback=10, cursor_seconds=0.001)))
    assert marks.seen == []
    assert len(list_alerts(place.state)) == 1


def test_a_snapshot_of_another_version_is_not_restored(place: Place) -> None:
    place.log.put(*[records.refused(t) for t in range(5)])
    asyncio.run(settle(place, Marks()))

    class Newer(Marks):
        version = 2

    newer = Newer()
    asyncio.run(settle(place, newer))
    assert newer.count == 5


def test_a_snapshot_that_cannot_be_read_costs_what_was_learned_and_no_more(place: Place) -> None:
    place.log.put(*[records.refused(t) for t in range(5)])
    asyncio.run(settle(place, Marks(), RefusalBurst(SMALL)))
    with place.state.begin() as connection:
        connection.execute(places.update().values(snapshot=b'{"count": [}'))
    marks = Marks()
    size = place.log.store.size()
    place.log.put(*[records.refused(t) for t in range(3)])
    asyncio.run(settle(place, marks, RefusalBurst(SMALL)))
    assert marks.seen == [size, size + 1, size + 2] and marks.count == 3
    assert len(place.alerts()) == 2


def test_more_waits_to_be_written_than_is_remembered_then_it_is_written_early(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detectors.follower.MOST_WAITING", 3)
    place.log.put(*[records.refused(t) for t in range(100)])
    asyncio.run(settle(place, Marks(), detection=Detection(batch=10, cursor_seconds=0.001)))
    assert len(place.alerts()) == len(set(map(str, place.alerts()))) == 10


def test_a_log_that_is_shorter_than_the_stored_place_is_read_anew(place: Place) -> None:
    place.log.put(*[records.refused(t) for t in range(5)])
    asyncio.run(settle(place, Marks()))
    place.log = StoreLog(place.path / "other.db")
    place.log.put(*[records.refused(t) for t in range(2)])
    marks = Marks()
    asyncio.run(settle(place, marks))
    assert marks.seen == [0, 1]


def test_what_people_made_of_an_alert_survives_a_replay(place: Place) -> None:
    place.log.put(*[records.refused(t) for t in range(3)])
    asyncio.run(settle(place, RefusalBurst(SMALL)))
    (alert,) = list_alerts(place.state)
    assert set_state(place.state, alert.id, "acknowledged", by="alice", at=7)
    assert not set_state(place.state, "alert-none", "closed", by="alice", at=7)
    with place.state.begin() as connection:
        connection.execute(places.delete())
    asyncio.run(settle(place, RefusalBurst(SMALL)))
    found = find_alert(place.state, alert.id)
    assert found is not None and (found.state, found.changed_by) == ("acknowledged", "alice")
    assert [a.id for a in list_alerts(place.state, state="open")] == []
    assert [a.id for a in list_alerts(place.state, tenant="acme", before=alert.log_index + 1)] == [alert.id]
    assert list_alerts(place.state, before=alert.log_index) == []
    assert len(place.alerts()) == 1
