"""The log on PostgreSQL under faults: a killed server, killed and deposed writers, a connection cut in mid-commit."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from lineage.client import LogClient
from lineage.control import ControlState
from lineage.errors import KeyFileError, LogUnavailable, VerificationError, WriterPresent
from lineage.keys import load_log_keys, load_verifier
from lineage.ledger import RETRY_SECONDS, Ledger, writer_lock
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.postgres_session import Session
from lineage.postgres_store import PostgresSource, PostgresStore
from lineage.reader import open_reader
from lineage.record import decode
from lineage.verify import verify
from lineage.writer import LOOK_SECONDS
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


def test_two_writers_append_at_once_and_when_the_one_that_signs_dies_the_other_does_within_three_seconds(
    database: str,
) -> None:
    async def scenario(first: Path, second: Path) -> None:
        acknowledged: dict[int, bytes] = {}
        writers = [start_writer(first, database=database)]
        clients = [await connect(first)]
        await clients[0].append(intent(0))
        shutil.copytree(Paths(first).keys, Paths(second).keys)
        writers.append(start_writer(second, database=database))
        clients.append(await connect(second))
        stop = asyncio.Event()
        loads = [
            asyncio.create_task(load(client, acknowledged, stop, f"node-{node}-{lane}"))
            for node, client in enumerate(clients)
            for lane in range(4)
        ]
        await asyncio.sleep(2)
        with open_reader(second, database) as reader:
            os.kill(writers[0].pid or 0, signal.SIGKILL)
            died = time.monotonic()
            known = len(acknowledged)
            signed = reader.source.checkpoint()
            while (latest := reader.source.checkpoint()) is None or signed is None or latest[0] < signed[0] + 50:
                assert time.monotonic() - died < FAILOVER_SECONDS, "the survivor signs"
                await asyncio.sleep(0.02)
        assert len(acknowledged) > known, "its appends went on meanwhile"
        stop.set()
        await asyncio.gather(*loads)
        nodes = {record.split(b"node-")[1][:1] for record in acknowledged.values()}
        assert nodes == {b"0", b"1"}
        for client in clients:
            await client.close()
        writers[1].terminate()
        writers[1].join()
        with writer_lock(second), closing(Ledger(second, QUICK, database)) as ledger:
            ledger.checkpoint()
        assert_sound(second, database, acknowledged)

    with data_directory() as first, data_directory() as second:
        asyncio.run(asyncio.wait_for(scenario(first, second), 60))


@contextmanager
def two_ledgers(database: str) -> Iterator[tuple[Ledger, Ledger]]:
    """The ledgers of two machines; the first is elected."""
    with data_directory() as first, data_directory() as second, ExitStack() as stack:
        stack.enter_context(writer_lock(first))
        stack.enter_context(writer_lock(second))
        one = stack.enter_context(closing(Ledger(first, QUICK, database)))
        shutil.copytree(Paths(first).keys, Paths(second).keys)
        yield one, stack.enter_context(closing(Ledger(second, QUICK, database)))


def contained(name: str) -> bytes:
    return record("containment.applied", 1, facts=APPLIED | {"containment": name})


def test_what_one_machine_contains_the_other_knows_before_its_next_acknowledgement(database: str) -> None:
    with two_ledgers(database) as (one, other):
        readings = other.readings
        assert one.append([contained("c1"), intent(1)], [0]) == (0, [(0, contained("c1"))])
        assert other.append([intent(2)]) == (2, [])
        assert list(other.control.containments) == ["c1"]
        assert other.readings == readings + 1
        assert other.append([intent(3)]) == (3, [])
        assert other.readings == readings + 1, "it is read once"
        assert one.append([intent(4)]) == (4, [])
        assert other.control.epoch == one.control.epoch == 1


def test_containments_that_two_machines_make_at_once_are_both_in_force(database: str) -> None:
    with two_ledgers(database) as ledgers, closing(PostgresSource(database)) as source:

        def contain(ledger: Ledger, name: str) -> None:
            for number in range(20):
                ledger.append([intent(number), contained(f"{name}-{number}")], [1])

        threads = [threading.Thread(target=contain, args=pair) for pair in zip(ledgers, "ab", strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = {f"{name}-{number}" for name in "ab" for number in range(20)}
        assert set(source.control().containments) == expected
        for ledger in ledgers:
            ledger.look()
            assert ledger.control == source.control()
        folded = ControlState()
        for index, data in source.read(0, 100):
            folded = folded.fold(decode(data), index)
        assert source.control() == folded
        assert ledgers[0].checkpoint() is not None


def test_a_look_tells_what_others_did(database: str) -> None:
    with two_ledgers(database) as (one, other):
        one.append([intent(0), contained("c1")], [1])
        assert (other.size, len(other.control.containments)) == (0, 0)
        other.look()
        assert (other.size, list(other.control.containments)) == (2, ["c1"])
        assert (one.elected, other.elected) == (True, False)
        assert other.checkpoint() is None
        one.close()
        until(lambda: other.look() or other.elected)
        assert other.checkpoint() is not None


def test_the_one_that_signs_hashes_what_the_others_wrote(database: str) -> None:
    with two_ledgers(database) as (one, other):
        for number in range(1_300):
            (one if number % 3 else other).append([intent(number)])
            one.grow()
        assert one.checkpoint() is not None
        with closing(PostgresSource(database)) as source:
            latest = source.checkpoint()
        assert latest is not None
        assert latest[0] == 1_300


def test_a_log_is_continued_with_its_own_key_only(database: str) -> None:
    """Also before the first checkpoint: a second machine that makes a key of its own would fork the log."""
    with data_directory() as first, data_directory() as second, writer_lock(first), writer_lock(second):
        Ledger(first, QUICK, database).close()
        with pytest.raises(KeyFileError, match=r"log\.key is missing"):
            Ledger(second, QUICK, database)
        load_log_keys(second, "theirs.example")
        with pytest.raises(KeyFileError, match="copy the directory of keys"):
            Ledger(second, QUICK, database)


def test_of_two_writers_one_is_elected(database: str) -> None:
    with closing(PostgresStore(database)) as store, closing(PostgresStore(database)) as other:
        assert store.elect()
        assert store.elect()
        assert not other.elect()
        with pytest.raises(WriterPresent):
            other.save_checkpoint(1, b"n", {})
        store.close()
        until(other.elect)  # The server takes a moment to notice.
        assert other.term == store.term + 1


def test_tables_are_made_once_by_machines_that_start_together(database: str) -> None:
    stores: list[PostgresStore] = []
    threads = [threading.Thread(target=lambda: stores.append(PostgresStore(database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.size() for store in stores] == [0] * 4
    for store in stores:
        store.close()


def test_a_writer_that_lost_its_session_cannot_commit(server: Postgres, database: str) -> None:
    old = PostgresStore(database)
    assert old.elect()
    old.append(0, [b"a"])
    with server.connect(database) as db:
        db.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")
    with closing(PostgresStore(database)) as new:
        assert new.elect()
        for _ in range(2):
            with pytest.raises(LogUnavailable):
                old.append(1, [b"old"])
        again = old.reopen()
        assert not again.elect()
        new.append(1, [b"new"])
        again.append(1, [b"old"])
        assert new.read(0, 10) == [(0, b"a"), (1, b"new"), (2, b"old")]
        again.close()


def test_a_writer_whose_lock_went_to_another_saves_no_checkpoint_though_its_session_lives(database: str) -> None:
    """As after a failover of the server to a copy of it, where the sessions live but the locks do not."""
    old = PostgresStore(database)
    assert old.elect()
    old.append(0, [b"a"])
    old._session.rows("SELECT pg_advisory_unlock_all()")
    with closing(PostgresStore(database)) as new:
        assert new.elect()
        for _ in range(2):
            with pytest.raises(WriterPresent, match="signs the PostgreSQL database"):
                old.save_checkpoint(1, b"old", {(0, 0): b"t" * 32})
        assert not old.elect()
        assert new.size() == 1
        assert new.checkpoint() is None
        assert new.levels() == 0


def test_a_takeover_waits_for_the_commit_that_is_under_way(server: Postgres, database: str) -> None:
    """What the old one has in the air is saved before the new one reads where the tree ends."""
    old = PostgresStore(database)
    assert old.elect()
    old.append(0, [b"a"])
    old._session.rows("SELECT pg_advisory_unlock_all()")
    new = PostgresStore(database)
    with old.together():
        old.save_checkpoint(1, b"n", {(0, 0): b"t" * 32})
        thread = threading.Thread(target=new.elect)
        thread.start()
        with server.connect(database) as db:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%term + 1%'"
            until(lambda: (db.execute(waiting).fetchone() or [0])[0] == 1)
        assert new.term == 0
    thread.join()
    with closing(new):
        assert new.checkpoint() == (1, b"n")


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
    assert store.elect()
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


def test_a_writer_without_work_outlives_the_server_s_absence_and_then_signs() -> None:
    async def scenario(first: Path, second: Path, server: Postgres) -> None:
        database = server.database()
        meter = Meter("second")
        async with running_writer(first, database=database):
            shutil.copytree(Paths(first).keys, Paths(second).keys)
        async with running_writer(second, database=database, meter=meter):
            assert meter.gauge("cordon_log_standby").value == 0
            server.kill()
            await asyncio.sleep(5 * LOOK_SECONDS)
            await asyncio.to_thread(server.start)
            client = await connect(second)
            deadline = time.monotonic() + 10
            while True:
                with suppress(LogUnavailable):
                    assert await client.append(intent(0)) == 0
                    break
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            await client.close()
        assert_sound(second, database, {0: intent(0)})

    with postgres() as server, data_directory() as first, data_directory() as second:
        asyncio.run(asyncio.wait_for(scenario(first, second, server), 60))


def test_a_writer_that_lost_its_election_goes_on_appending_and_takes_up_what_the_other_wrote(
    server: Postgres, database: str
) -> None:
    with data_directory() as data_dir, writer_lock(data_dir):
        with closing(Ledger(data_dir, QUICK, database)) as ledger:
            ledger.append([intent(0)])
            ledger.checkpoint()
            with server.connect(database) as db:
                db.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")
            with closing(Ledger(data_dir, QUICK, database)) as other:
                other.append([contained("c1")], [0])
                with pytest.raises(LogUnavailable):
                    ledger.append([intent(2)])
                time.sleep(RETRY_SECONDS)
                assert ledger.append([intent(3)]) == (2, [])
                assert list(ledger.control.containments) == ["c1"]
                assert (ledger.elected, ledger.checkpoint()) == (False, None)
                other.checkpoint()
            until(lambda: ledger.look() or ledger.elected)
            ledger.append([intent(4)])
            ledger.checkpoint()
        assert_sound(data_dir, database, {0: intent(0), 2: intent(3), 3: intent(4)})


def test_a_log_that_lost_acknowledged_records_is_not_written_to(server: Postgres, database: str) -> None:
    """As after the failover of a server that replicated asynchronously."""
    with data_directory() as data_dir, writer_lock(data_dir), closing(Ledger(data_dir, QUICK, database)) as ledger:
        ledger.append([intent(0), intent(1)])
        with server.connect(database) as db:
            db.execute("DELETE FROM cordon.records WHERE idx = 1; UPDATE cordon.log SET size = 1, term = term - 1")
        for _ in range(3):
            time.sleep(RETRY_SECONDS)
            with pytest.raises(VerificationError, match="lost records that were acknowledged"):
                ledger.append([intent(2)])
