"""The log on PostgreSQL under faults: a killed server, a killed or deposed writer, a connection cut in mid-commit."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lineage.client import LogClient
from lineage.errors import LogUnavailable, VerificationError, WriterPresent
from lineage.keys import load_verifier
from lineage.ledger import RETRY_SECONDS, Ledger, writer_lock
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.postgres_session import Session
from lineage.postgres_store import PostgresSource, PostgresStore
from lineage.reader import open_reader
from lineage.verify import verify
from lineage.writer import STANDBY_SECONDS, run_writer
from tests.support.logs import QUICK, connect, data_directory, running_writer, start_writer
from tests.support.postgres import Postgres, postgres
from tests.support.records import intent, record
from tests.support.relay import relay

FAILOVER_SECONDS = 3.0
APPLIED = {
    "containment": "c1", "target_type": "principal", "target": "acme/x", "reason": "r", "owner": "o", "until": 9_000,
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def database(server: Postgres) -> str:
    return server.database()


def assert_sound(data_dir: Path, database: str, acknowledged: dict[int, bytes]) -> None:
    """No acknowledged record is lost or moved, no index is missing or doubled, and everything verifies."""
    with open_reader(data_dir, database) as reader:
        stored = list(reader.records())
        assert [index for index, _ in stored] == list(range(len(stored)))
        assert {index: stored[index][1] for index in acknowledged} == acknowledged
        report = verify(reader, [load_verifier(data_dir)])
    assert report.wrong == 0, report.lines()


async def load(client: LogClient, acknowledged: dict[int, bytes], stop: asyncio.Event, name: str) -> int:
    """Append over and over until `stop`, whatever fails meanwhile; return how many appends failed."""
    failed = number = 0
    while not stop.is_set():
        number += 1
        record = intent(number, boot=name)
        try:
            acknowledged[await client.append(record)] = record
        except LogUnavailable:
            failed += 1
            await asyncio.sleep(0.01)
    return failed


def until(condition: object, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_killed_under_appends_loses_nothing_and_the_writer_comes_back_by_itself() -> None:
    async def scenario(data_dir: Path, server: Postgres, database: str) -> None:
        chance = random.Random(7)
        acknowledged: dict[int, bytes] = {}
        async with running_writer(data_dir, database=database):
            client = await connect(data_dir)
            stop = asyncio.Event()
            loads = [asyncio.create_task(load(client, acknowledged, stop, f"lane-{lane}")) for lane in range(8)]
            for _ in range(3):
                before = len(acknowledged)
                while len(acknowledged) < before + 50:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(chance.uniform(0, 0.2))
                server.kill()
                await asyncio.to_thread(server.start)
            before = len(acknowledged)
            while len(acknowledged) < before + 50:
                await asyncio.sleep(0.01)
            stop.set()
            assert sum(await asyncio.gather(*loads)) > 0, "calls are refused while the server is away"
            await client.close()
        assert_sound(data_dir, database, acknowledged)

    with postgres() as server, data_directory() as data_dir:
        asyncio.run(asyncio.wait_for(scenario(data_dir, server, server.database()), 100))


def test_a_standby_takes_over_in_under_three_seconds_with_nothing_lost_or_doubled(database: str) -> None:
    async def scenario(first: Path, second: Path) -> None:
        acknowledged: dict[int, bytes] = {}
        writer = start_writer(first, database=database)
        client = await connect(first)
        await client.append(intent(0))
        shutil.copytree(Paths(first).keys, Paths(second).keys)
        standby = start_writer(second, database=database)
        stop = asyncio.Event()
        loads = [asyncio.create_task(load(client, acknowledged, stop, f"lane-{lane}")) for lane in range(8)]
        await asyncio.sleep(3)
        assert not Paths(second).socket.exists(), "while the first writes, the standby waits"
        os.kill(writer.pid or 0, signal.SIGKILL)
        died = time.monotonic()
        successor = await connect(second)
        index = await successor.append(intent(1, boot="second"))
        took = time.monotonic() - died
        acknowledged[index] = intent(1, boot="second")
        assert took < FAILOVER_SECONDS
        stop.set()
        await asyncio.gather(*loads)
        assert len(acknowledged) > 100
        await successor.close()
        await client.close()
        standby.terminate()
        standby.join()
        with writer_lock(second), closing(Ledger(second, QUICK, database)) as ledger:
            ledger.checkpoint()
        assert_sound(second, database, acknowledged)

    with data_directory() as first, data_directory() as second:
        asyncio.run(asyncio.wait_for(scenario(first, second), 60))


def test_of_two_writers_one_is_elected(database: str) -> None:
    with closing(PostgresStore(database)) as store:
        with pytest.raises(WriterPresent, match="another log writer"):
            PostgresStore(database)
        store.append(0, [b"a"])
    with closing(PostgresStore(database)) as next_one:
        assert next_one.term == store.term + 1


def test_a_writer_that_lost_its_session_cannot_commit(server: Postgres, database: str) -> None:
    old = PostgresStore(database)
    old.append(0, [b"a"])
    with server.connect(database) as db:
        db.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")
    with closing(PostgresStore(database)) as new:
        for _ in range(2):
            with pytest.raises(LogUnavailable):
                old.append(1, [b"old"])
        with pytest.raises(WriterPresent):
            old.reopen()
        new.append(1, [b"new"])
        assert new.read(0, 10) == [(0, b"a"), (1, b"new")]


def test_a_writer_whose_lock_went_to_another_is_fenced_though_its_session_lives(database: str) -> None:
    """As after a failover of the server to a copy of it, where the sessions live but the locks do not."""
    old = PostgresStore(database)
    old.append(0, [b"a"])
    old._session.rows("SELECT pg_advisory_unlock_all()")
    with closing(PostgresStore(database)) as new:
        with pytest.raises(WriterPresent, match="taken over"):
            old.append(1, [b"old"])
        with pytest.raises(LogUnavailable):
            old.save_checkpoint(1, b"old", {(0, 0): b"t" * 32})
        assert new.size() == 1
        assert new.checkpoint() is None
        assert new.levels() == 0


def test_a_fenced_checkpoint_keeps_nothing(database: str) -> None:
    old = PostgresStore(database)
    old._session.rows("SELECT pg_advisory_unlock_all()")
    with closing(PostgresStore(database)) as new:
        with pytest.raises(WriterPresent, match="taken over"):
            old.save_checkpoint(1, b"old", {(0, 0): b"t" * 32})
        assert new.checkpoint() is None
        assert new.levels() == 0


def test_a_takeover_waits_for_the_commit_that_is_under_way(server: Postgres, database: str) -> None:
    """What the old writer has in the air is in the log before the new one reads where the log ends."""
    old = PostgresStore(database)
    old.append(0, [b"a"])
    old._session.rows("SELECT pg_advisory_unlock_all()")
    with old.together():
        old.append(1, [b"b"])
        taken: list[PostgresStore] = []

        def take_over() -> None:
            taken.append(PostgresStore(database))

        thread = threading.Thread(target=take_over)
        thread.start()
        with server.connect(database) as db:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%term + 1%'"
            until(lambda: (db.execute(waiting).fetchone() or [0])[0] == 1)
        assert taken == []
    thread.join()
    with closing(taken[0]) as new:
        assert new.size() == 2


@pytest.mark.parametrize("lingering", [False, True], ids=["closed", "lingering"])
@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_commit_whose_answer_was_lost_is_looked_up(
    server: Postgres, database: str, cut: str, lingering: bool
) -> None:
    """ "after": the records were refused and are there all the same; they keep their indexes, the next ones follow."""
    with relay(server.port) as between, data_directory() as data_dir, writer_lock(data_dir):
        with closing(Ledger(data_dir, QUICK, server.through(database, between.port))) as ledger:
            ledger.append([intent(0)])
            ledger.checkpoint()
            between.lingering = lingering
            between.cut = cut
            with pytest.raises(LogUnavailable):
                ledger.append([intent(1), intent(2)])
            assert between.cuts == 1
            time.sleep(RETRY_SECONDS)
            start = time.monotonic()
            first, _ = ledger.append([intent(3)])
            assert time.monotonic() - start < FAILOVER_SECONDS
            assert first == (3 if cut == "after" else 1)
            ledger.checkpoint()
        expected = [intent(0), intent(1), intent(2), intent(3)] if cut == "after" else [intent(0), intent(3)]
        assert_sound(data_dir, database, dict(enumerate(expected)))


def test_a_server_that_sleeps_is_given_up_in_time(
    server: Postgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(database)
    store.append(0, [b"a"])
    store._session._db.patience = 0.5
    with server.connect(database) as db:
        row = db.execute("SELECT pid FROM pg_locks WHERE locktype = 'advisory'").fetchone()
    assert row is not None
    os.kill(row[0], signal.SIGSTOP)
    try:
        start = time.monotonic()
        with pytest.raises(LogUnavailable, match="does not answer"):
            store.append(1, [b"b"])
        assert time.monotonic() - start < 2
    finally:
        os.kill(row[0], signal.SIGCONT)
    deadline = time.monotonic() + 10
    while True:
        with suppress(LogUnavailable):
            store = store.reopen()
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert store.size() in {1, 2}, "it was asleep with the commit in its hands"
    store.append(store.size(), [b"c"])
    store.close()


def test_a_reader_comes_back_to_a_server_that_was_restarted() -> None:
    with postgres() as server:
        database = server.database()
        with closing(PostgresStore(database)) as store:
            store.append(0, [b"a"])
        with closing(PostgresSource(database)) as source:
            assert source.size() == 1
            server.kill()
            with pytest.raises(LogUnavailable, match="PostgreSQL database"):
                source.size()
            server.start()
            assert source.read(0, 1) == [(0, b"a")]


def test_an_append_is_one_round_trip(server: Postgres, database: str) -> None:
    with relay(server.port) as between:
        store = PostgresStore(server.through(database, between.port))
        store.append(0, [b"a"])  # The first one also has the server prepare the statement.
        for number in range(1, 20):
            before = between.turns
            store.append(number, [b"b"])
            assert between.turns == before + 1
        store.close()


def test_a_server_that_does_not_sync_is_refused() -> None:
    with postgres(fsync="off") as server:
        database = server.database()
        with pytest.raises(LogUnavailable, match="fsync=off"):
            PostgresStore(database)


def test_a_commit_is_waited_for_whatever_the_server_is_set_to() -> None:
    with postgres(synchronous_commit="off") as server, closing(PostgresStore(server.database())) as store:
        assert store._session.rows("SHOW synchronous_commit") == [("on",)]


def test_no_error_names_the_password(server: Postgres, database: str) -> None:
    texts = []
    wrong = database.replace(server.password, "not-the-secret-1")
    for address in (wrong, database + "x", wrong.replace(str(server.port), "1")):
        with pytest.raises(LogUnavailable) as caught:
            Session(address, "test")
        texts.append(str(caught.value))
    assert not any("secret" in text or server.password in text for text in texts), texts


def test_a_standby_outlives_the_server_s_absence_and_ends_when_told() -> None:
    async def scenario(first: Path, second: Path, server: Postgres) -> None:
        database = server.database()
        meter = Meter("standby")
        stop, ready = asyncio.Event(), asyncio.Event()
        async with running_writer(first, database=database):
            shutil.copytree(Paths(first).keys, Paths(second).keys)
            standby = asyncio.create_task(run_writer(second, QUICK, meter, stop, ready.set, database))
            while not meter.gauge("cordon_log_standby").value:
                await asyncio.sleep(0.01)
            server.kill()
            await asyncio.sleep(3 * STANDBY_SECONDS)
            assert not standby.done(), "the server's failover is what a standby is there for"
            stop.set()
            await asyncio.wait_for(standby, 5)
            assert not ready.is_set()
            await asyncio.to_thread(server.start)

    with postgres() as server, data_directory() as first, data_directory() as second:
        asyncio.run(asyncio.wait_for(scenario(first, second, server), 60))


def test_a_writer_that_lost_the_election_takes_up_what_the_other_wrote_when_it_is_elected_again(
    server: Postgres, database: str
) -> None:
    with data_directory() as data_dir, writer_lock(data_dir):
        with closing(Ledger(data_dir, QUICK, database)) as ledger:
            ledger.append([intent(0)])
            ledger.checkpoint()
            with server.connect(database) as db:
                db.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")
            with closing(Ledger(data_dir, QUICK, database)) as other:
                other.append([record("containment.applied", 1, facts=APPLIED)], [0])
                other.checkpoint()
                for _ in range(2):
                    with pytest.raises(LogUnavailable):
                        ledger.append([intent(2)])
                    time.sleep(RETRY_SECONDS)
            assert ledger.append([intent(3)]) == (2, [])
            assert list(ledger.control.containments) == ["c1"]
            ledger.checkpoint()
        assert_sound(data_dir, database, {0: intent(0), 2: intent(3)})


def test_a_log_that_lost_acknowledged_records_is_not_written_to(server: Postgres, database: str) -> None:
    """As after the failover of a server that replicated asynchronously."""
    with data_directory() as data_dir, writer_lock(data_dir), closing(Ledger(data_dir, QUICK, database)) as ledger:
        ledger.append([intent(0), intent(1)])
        with server.connect(database) as db:
            db.execute("DELETE FROM cordon.records WHERE idx = 1; UPDATE cordon.log SET size = 1, term = term - 1")
        with pytest.raises(LogUnavailable):
            ledger.append([intent(2)])
        for _ in range(2):
            time.sleep(RETRY_SECONDS)
            with pytest.raises(VerificationError, match="lost records that were acknowledged"):
                ledger.append([intent(2)])
