"""The log writer as its clients see it, over its real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from lineage import wire, writer
from lineage.client import LogClient
from lineage.control import ControlState
from lineage.errors import LogUnavailable, WriterPresent
from lineage.keys import load_verifier
from lineage.ledger import Ledger, writer_lock
from lineage.metrics import Meter
from lineage.note import open_checkpoint
from lineage.paths import Paths
from lineage.reader import open_reader
from lineage.record import decode
from lineage.settings import Lineage
from lineage.side import blob_digest
from lineage.side_writer import SideWriter
from lineage.sqlite_side import SqliteSide
from tests.support.logs import QUICK, connect, data_directory, running_writer
from tests.support.records import intent, record

Scenario = Callable[[Path], Awaitable[None]]
APPLIED = {"target_type": "principal", "target": "acme/x", "reason": "r", "owner": "o", "until": 9_000}


def play(scenario: Scenario, settings: Lineage = QUICK, meter: Meter | None = None) -> None:
    """Run a scenario beside a writer."""

    async def run() -> None:
        with data_directory() as data_dir:
            async with running_writer(data_dir, settings, meter):
                await scenario(data_dir)

    asyncio.run(run())


def applied(name: str, at: int = 5) -> bytes:
    return record("containment.applied", at, facts={"containment": name, **APPLIED})


def test_an_acknowledged_record_can_be_read_at_its_index() -> None:
    async def scenario(data_dir: Path) -> None:
        client = await connect(data_dir)
        records = [intent(1_000 + i) for i in range(300)]
        assert await asyncio.gather(*[client.append(record) for record in records]) == list(range(300))
        with open_reader(data_dir) as reader:
            assert reader.read(0, 1_000) == list(enumerate(records))
        assert Paths(data_dir).socket.stat().st_mode & 0o777 == 0o600
        await client.close()

    play(scenario)


def test_clients_get_gapless_indexes_without_overlap_and_each_in_its_own_order() -> None:
    async def scenario(data_dir: Path) -> None:
        clients = [await connect(data_dir) for _ in range(4)]

        async def lane(client: LogClient, number: int) -> list[int]:
            indexes = []
            for burst in (1, 7, 50, 3, 200):
                indexes += await asyncio.gather(*[client.append(intent(number)) for _ in range(burst)])
            return indexes

        lanes = await asyncio.gather(*[lane(client, number) for number, client in enumerate(clients)])
        assert all(indexes == sorted(indexes) for indexes in lanes)
        assert sorted(index for indexes in lanes for index in indexes) == list(range(4 * 261))
        with open_reader(data_dir) as reader:
            for number, indexes in enumerate(lanes):
                assert all(decode(reader.read(index, 1)[0][1])["at"] == number for index in indexes)
        for client in clients:
            await client.close()

    play(scenario)


def test_a_batch_larger_than_the_limit_is_committed_in_parts() -> None:
    meter = Meter("log")

    async def scenario(data_dir: Path) -> None:
        one, other = await connect(data_dir), await connect(data_dir)
        results = await asyncio.gather(*[client.append(intent(1)) for client in (one, other) for _ in range(100)])
        assert sorted(results) == list(range(200))
        await one.close()
        await other.close()

    play(scenario, Lineage(checkpoint_seconds=0.05, batch=16), meter)
    batches = meter.histogram("cordon_log_batch_records")
    assert batches.total == 200
    assert sum(batches.counts[:5]) == sum(batches.counts)


def test_over_the_queue_appends_are_refused_at_once_and_the_others_are_kept() -> None:
    async def scenario(data_dir: Path) -> None:
        client = await connect(data_dir)
        answers = await asyncio.gather(*[client.append(intent(n)) for n in range(500)], return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, LogUnavailable)]
        kept = [answer for answer in answers if isinstance(answer, int)]
        assert len(refused) + len(kept) == 500
        assert refused
        assert "wait for the disk" in str(refused[0])
        assert kept == list(range(len(kept)))
        with open_reader(data_dir) as reader:
            assert reader.size() == len(kept)
        assert await client.append(intent(1)) == len(kept)
        await client.close()

    play(scenario, Lineage(checkpoint_seconds=0.05, queue=20, batch=8))


def test_control_changes_arrive_before_the_acknowledgement_of_the_same_or_a_later_commit() -> None:
    async def scenario(data_dir: Path) -> None:
        soc = await connect(data_dir)
        seen: list[ControlState] = []
        worker = await LogClient.connect(Paths(data_dir).socket, on_control=seen.append)
        assert worker.control.containments == {}
        for number in range(50):
            contained = soc.append(applied(f"c{number}"))
            while not contained.done():
                index = await worker.append(intent(number))
                assert worker.control is seen[-1]
                live = len(worker.control.containments)
                with open_reader(data_dir) as reader:
                    before = [d for _, d in reader.read(0, index) if b'"containment.applied"' in d]
                assert live >= len(before), "the worker must know of every containment committed before its record"
            await contained
        assert len(soc.control.containments) == 50
        assert soc.control.epoch <= await worker.append(intent(1))
        assert worker.control == soc.control
        await soc.close()
        await worker.close()

    play(scenario)


def test_the_own_control_record_is_in_force_when_its_append_returns() -> None:
    async def scenario(data_dir: Path) -> None:
        client = await connect(data_dir)
        await client.append(applied("c1"))
        assert list(client.control.containments) == ["c1"]
        await client.append(record("containment.released", 6, facts={"containment": "c1", "by": "x", "reason": "y"}))
        assert list(client.control.containments) == []
        await client.close()

    play(scenario)


def test_a_new_client_and_a_new_writer_know_the_control_state() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            async with running_writer(data_dir):
                client = await connect(data_dir)
                await client.append(applied("c1"))
                state = client.control
                late = await connect(data_dir)
                assert late.control == state
                await late.close()
                await client.close()
            async with running_writer(data_dir):
                client = await connect(data_dir)
                assert client.control == state
                await client.close()

    asyncio.run(scenario())


def test_a_malformed_control_record_is_refused_alone() -> None:
    async def scenario(data_dir: Path) -> None:
        client = await connect(data_dir)
        bad = record("containment.applied", 5, facts={**APPLIED, "containment": "c1", "until": "soon"})
        answers = await asyncio.gather(
            *[client.append(data) for data in (intent(1), bad, intent(2))], return_exceptions=True
        )
        assert answers[0] == 0
        assert isinstance(answers[1], LogUnavailable)
        assert "until" in str(answers[1])
        assert answers[2] == 1
        await client.close()

    play(scenario)


def test_followers_are_told_the_size_soon_and_not_for_every_commit() -> None:
    async def scenario(data_dir: Path) -> None:
        sizes: list[int] = []
        follower = await LogClient.connect(Paths(data_dir).socket, on_size=sizes.append)
        assert sizes == [0]
        client = await connect(data_dir)
        for number in range(200):
            await client.append(intent(number))
        async with asyncio.timeout(5):
            while sizes[-1] != 200:
                await asyncio.sleep(0.002)
        assert sizes == sorted(set(sizes))
        assert len(sizes) < 150
        await follower.close()
        await client.close()

    play(scenario)


def test_checkpoints_come_by_themselves_while_there_is_something_new() -> None:
    async def scenario(data_dir: Path) -> None:
        client = await connect(data_dir)
        with open_reader(data_dir) as reader:
            for size in (1, 2, 300):
                await asyncio.gather(*[client.append(intent(1)) for _ in range(size - reader.size())])
                async with asyncio.timeout(5):
                    while reader.checkpoint_size() != size:
                        await asyncio.sleep(0.005)
                assert open_checkpoint(reader.checkpoint() or b"", [load_verifier(data_dir)]).size == size
            kept = len(reader.source.checkpoints(-1, 100))
            await asyncio.sleep(0.2)  # Nothing is new: nothing is signed.
            assert len(reader.source.checkpoints(-1, 100)) == kept
        await client.close()

    play(scenario)


def test_stopping_commits_what_waits_and_signs_it() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            async with running_writer(data_dir, Lineage(checkpoint_seconds=60)):
                client = await connect(data_dir)
                waiting = [client.append(intent(number)) for number in range(3_000)]
                await waiting[0]
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            acknowledged = [answer for answer in answers if isinstance(answer, int)]
            with open_reader(data_dir) as reader:
                assert reader.checkpoint_size() == reader.size() >= len(acknowledged)
            assert not Paths(data_dir).log.with_name("cordon-log.db-wal").exists()
            await client.close()

    asyncio.run(scenario())


def test_a_second_writer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOCK_PATIENCE", 0.1)

    async def scenario(data_dir: Path) -> None:
        with pytest.raises(WriterPresent):
            await writer.run_writer(data_dir, QUICK, Meter("x"), asyncio.Event(), lambda: None)
        client = await connect(data_dir)
        assert await client.append(intent(1)) == 0
        await client.close()

    play(scenario)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 100, b"GET / HTTP/1.0\r\n\r\n", wire.hello(0) + b"\xff\xff\xff\xff\x02", wire.append(b"no hello", None)],
)
def test_a_misbehaving_client_is_cut_off_without_harm_to_others(garbage: bytes) -> None:
    async def scenario(data_dir: Path) -> None:
        good = await connect(data_dir)
        reader, stream = await asyncio.open_unix_connection(str(Paths(data_dir).socket))
        stream.write(garbage)
        async with asyncio.timeout(5):
            while await reader.read(4_096):
                pass
        assert await good.append(intent(1)) == 0
        stream.close()
        await good.close()

    play(scenario)


def test_records_of_a_client_that_left_are_committed_all_the_same() -> None:
    async def scenario(data_dir: Path) -> None:
        _, stream = await asyncio.open_unix_connection(str(Paths(data_dir).socket))
        stream.write(wire.hello(0) + wire.append(intent(1), None))
        stream.close()
        with open_reader(data_dir) as reader:
            async with asyncio.timeout(5):
                while reader.size() < 1:
                    await asyncio.sleep(0.005)

    play(scenario)


def test_side_blobs_are_kept_under_their_digest() -> None:
    meter = Meter("log")

    async def scenario(data_dir: Path) -> None:
        client = await connect(data_dir)
        pairs = [(intent(number), b"blob %d" % number if number % 2 else None) for number in range(10)]
        await asyncio.gather(*[client.append(data, side=side) for data, side in pairs])
        store = SqliteSide(Paths(data_dir).side)
        async with asyncio.timeout(5):
            while meter.counter("cordon_side_blobs_total").value < 5:
                await asyncio.sleep(0.005)
        blobs = [side for _, side in pairs if side is not None]
        assert [store.load(blob_digest(blob)) for blob in blobs] == blobs
        store.close()
        await client.close()

    play(scenario, meter=meter)


def test_what_was_written_is_copied_into_the_database_as_it_goes() -> None:
    async def scenario(data_dir: Path) -> None:
        client = await connect(data_dir)
        for number in range(100):
            await client.append(intent(number, path="/" + "x" * 60_000))
        async with asyncio.timeout(5):
            while Paths(data_dir).log.stat().st_size < 4_000_000:
                await asyncio.sleep(0.005)
        await client.close()

    play(scenario)


def test_the_metrics_tell_what_happened() -> None:
    meter = Meter("log")

    async def scenario(data_dir: Path) -> None:
        client = await connect(data_dir)
        await asyncio.gather(*[client.append(intent(number)) for number in range(10)])
        assert meter.gauge("cordon_log_clients").value == 1
        await client.close()

    play(scenario, meter=meter)
    assert meter.gauge("cordon_log_size_records").value == 10
    assert meter.gauge("cordon_log_checkpoint_records").value == 10
    assert sum(meter.histogram("cordon_log_commit_seconds").counts) >= 1
    assert meter.histogram("cordon_log_batch_records").total == 10


def test_a_socket_that_a_killed_writer_left_behind_is_taken_over() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            Paths(data_dir).run.mkdir(mode=0o700)
            Paths(data_dir).socket.write_text("left over")
            async with running_writer(data_dir):
                client = await connect(data_dir)
                assert await client.append(intent(1)) == 0
                await client.close()

    asyncio.run(scenario())


def test_a_path_too_long_for_a_socket_is_named() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            long = data_dir / ("x" * 120)
            with pytest.raises(LogUnavailable, match="shorter data_dir"):
                await writer.run_writer(long, QUICK, Meter("x"), asyncio.Event(), lambda: None)

    asyncio.run(scenario())


def test_a_fault_in_the_writer_ends_it_instead_of_leaving_clients_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        with data_directory() as data_dir:
            stop, ready = asyncio.Event(), asyncio.Event()
            task = asyncio.create_task(writer.run_writer(data_dir, QUICK, Meter("log"), stop, ready.set))
            await ready.wait()
            client = await connect(data_dir)
            monkeypatch.setattr(writer.LogWriter, "_tell", broken)
            with pytest.raises(LogUnavailable):
                await asyncio.wait_for(client.append(intent(1)), 5)
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(task, 5)
            await client.close()

    asyncio.run(scenario())


def test_a_client_that_comes_while_the_writer_ends_is_turned_away() -> None:
    """Otherwise it would be connected to a writer that takes nothing more, and never look for the next one."""

    async def scenario() -> None:
        with data_directory() as data_dir, writer_lock(data_dir), closing(Ledger(data_dir, QUICK)) as ledger:
            side = SideWriter(partial(SqliteSide, Paths(data_dir).side), QUICK, Meter("log"))
            ending = writer.LogWriter(ledger, side, QUICK, Meter("log"))
            ending.finish()
            ours, theirs = socket.socketpair()
            transport, _ = await asyncio.get_running_loop().create_connection(ending.client, sock=ours)
            assert transport.is_closing()
            side.close()
            theirs.close()

    asyncio.run(scenario())


def test_the_queue_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING_BYTES", 1_000_000)

    async def scenario(data_dir: Path) -> None:
        client = await connect(data_dir)
        blob = bytes(500_000)
        answers = await asyncio.gather(
            *[client.append(intent(number), side=blob) for number in range(60)], return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, LogUnavailable)]
        assert 0 < len(refused) < 60
        assert "wait for the disk" in str(refused[0])
        assert [answer for answer in answers if isinstance(answer, int)] == list(range(60 - len(refused)))
        await client.close()

    play(scenario)
