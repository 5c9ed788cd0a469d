"""The log under faults: a killed writer, a disk that is full, read-only or locked, a file cut or removed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from lineage.client import LogClient
from lineage.errors import LineageError, LogUnavailable
from lineage.keys import load_verifier
from lineage.ledger import Ledger, writer_lock
from lineage.paths import Paths
from lineage.reader import LogReader, open_reader
from lineage.record import decode
from lineage.settings import Lineage
from lineage.sqlite_store import SqliteStore
from lineage.verify import verify
from tests.support.disks import remount, small_disk
from tests.support.logs import QUICK, connect, data_directory, running_writer, start_writer
from tests.support.records import intent, record

KILLS = 6
SEED = 11


def assert_sound(data_dir: Path) -> None:
    """Everything that can be verified of the log is in order."""
    with open_reader(data_dir) as reader:
        report = verify(reader, [load_verifier(data_dir)])
    assert report.wrong == 0, report.lines()


async def _load(data_dir: Path, client: LogClient, acknowledged: dict[int, bytes], name: str) -> int:
    """Append as fast as the log takes it until it is lost; return how many appends failed."""
    number = 0

    async def lane(lane_name: str) -> int:
        nonlocal number
        failed = 0
        while not failed:
            number += 1
            record = intent(number, boot=f"{name}-{lane_name}")
            try:
                acknowledged[await client.append(record)] = record
            except LogUnavailable:
                failed += 1
        return failed

    return sum(await asyncio.gather(*[lane(str(i)) for i in range(16)]))


def test_every_acknowledged_record_survives_a_killed_writer() -> None:
    """The writer is killed at random instants under load; indexes stay gapless and nothing acknowledged is lost."""

    async def scenario(data_dir: Path) -> None:
        chance = random.Random(20)
        acknowledged: dict[int, bytes] = {}
        for kill in range(KILLS):
            writer = start_writer(data_dir)
            clients = [await connect(data_dir) for _ in range(2)]
            loads = [
                asyncio.create_task(_load(data_dir, client, acknowledged, f"{kill}-{i}"))
                for i, client in enumerate(clients)
            ]
            await asyncio.sleep(chance.uniform(0.05, 0.4))  # The instant of the kill is what is random here.
            os.kill(writer.pid or 0, signal.SIGKILL)
            assert all(await asyncio.gather(*loads)), "no append may hang or succeed without a writer"
            writer.join()
            for client in clients:
                await client.close()
        with writer_lock(data_dir), closing(Ledger(data_dir, QUICK)) as ledger:
            ledger.checkpoint()
        with open_reader(data_dir) as reader:
            stored = dict(reader.records())
            assert len(acknowledged) > 1_000
            assert sorted(stored) == list(range(len(stored)))
            assert {index: stored[index] for index in acknowledged} == acknowledged
        assert_sound(data_dir)

    with data_directory() as data_dir:
        asyncio.run(scenario(data_dir))


def test_pruning_goes_on_after_a_killed_writer_and_every_hole_is_explained() -> None:
    """Killed at random instants while it prunes, the log verifies each time, and all that is old goes in the end."""
    settings = Lineage(checkpoint_seconds=0.05, records_days=1, policy_inputs=False)
    old, now = 1_000, time.time_ns() // 1_000_000
    chance = random.Random(SEED)
    halves = 0
    with data_directory() as data_dir:
        with writer_lock(data_dir), closing(Ledger(data_dir, settings)) as ledger:
            ledger.append([record("call.intent", old)] * 15_000 + [record("call.intent", now)] * 100)
            ledger.checkpoint()
            held = LogReader(ledger._store).checkpoint()
        for _ in range(40):
            writer = start_writer(data_dir, settings)
            asyncio.run(_closed(data_dir))
            time.sleep(chance.uniform(1.0, 1.8))  # It looks for what is old a second after its start.
            os.kill(writer.pid or 0, signal.SIGKILL)
            writer.join()
            with open_reader(data_dir) as reader:
                report = verify(reader, [load_verifier(data_dir)], held)
            assert report.wrong == 0, report.lines()
            halves += 0 < report.pruned < 15_000
            if report.pruned == 15_000:
                break
        assert report.pruned == 15_000
        assert halves, "it was never killed half-way"
        with open_reader(data_dir) as reader:
            kinds = [decode(data)["kind"] for _, data in reader.records()]
        assert kinds == ["call.intent"] * 100 + ["log.pruned"]


async def _closed(data_dir: Path) -> None:
    await (await connect(data_dir)).close()


def test_a_client_comes_back_within_a_second_and_knows_the_state() -> None:
    async def scenario(data_dir: Path) -> None:
        writer = start_writer(data_dir)
        client = await connect(data_dir)
        await client.append(intent(1))
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join()
        with pytest.raises(LogUnavailable):
            await client.append(intent(2))
        async with running_writer(data_dir):
            async with asyncio.timeout(1.0):
                while not client.connected:
                    await asyncio.sleep(0.005)
            assert await client.append(intent(3)) in {1, 2}
            await client.close()

    with data_directory() as data_dir:
        asyncio.run(scenario(data_dir))


def test_a_writer_that_stops_answering_is_given_up() -> None:
    async def scenario(data_dir: Path) -> None:
        writer = start_writer(data_dir)
        await (await connect(data_dir)).close()
        client = await LogClient.connect(Paths(data_dir).socket, patience=0.3)
        os.kill(writer.pid or 0, signal.SIGSTOP)
        try:
            async with asyncio.timeout(3):
                with pytest.raises(LogUnavailable):
                    await client.append(intent(1))
                with pytest.raises(LogUnavailable):
                    await client.append(intent(2))
        finally:
            os.kill(writer.pid or 0, signal.SIGKILL)
            writer.join()
        await client.close()

    with data_directory() as data_dir:
        asyncio.run(scenario(data_dir))


async def _until_taken(client: LogClient, record: bytes) -> int:
    async with asyncio.timeout(5):
        while True:
            try:
                return await client.append(record)
            except LogUnavailable:
                await asyncio.sleep(0.02)


def test_a_full_disk_refuses_whole_batches_and_the_writer_recovers() -> None:
    async def scenario(data_dir: Path) -> None:
        async with running_writer(data_dir):
            client = await connect(data_dir)
            acknowledged: dict[int, bytes] = {}
            ballast = data_dir / "ballast"
            ballast.write_bytes(b"\0" * 3_000_000)
            reason = ""
            for round_ in range(10_000):
                records = [intent(round_, path="/" + "x" * 2_000) for _ in range(20)]
                answers = await asyncio.gather(*map(client.append, records), return_exceptions=True)
                failures = [answer for answer in answers if isinstance(answer, LogUnavailable)]
                assert len(failures) in {0, 20}, "a batch is taken whole or refused whole"
                if failures:
                    reason = str(failures[0])
                    break
                acknowledged |= dict(zip(answers, records, strict=True))
            assert "disk is full" in reason
            assert str(data_dir) not in reason
            ballast.unlink()
            index = await _until_taken(client, intent(7))
            assert index == len(acknowledged), "nothing of a refused batch is in the log"
            await client.close()
        with open_reader(data_dir) as reader:
            stored = dict(reader.records())
        assert {index: stored[index] for index in acknowledged} == acknowledged
        assert_sound(data_dir)

    with small_disk(8) as data_dir:
        asyncio.run(scenario(data_dir))


def test_a_read_only_disk_is_named_at_the_start() -> None:
    async def scenario(data_dir: Path) -> None:
        async with running_writer(data_dir):
            client = await connect(data_dir)
            await client.append(intent(1))
            await client.close()
        remount(data_dir, "ro")
        with pytest.raises(LogUnavailable, match="Read-only file system"):
            async with running_writer(data_dir):
                pass
        assert_sound(data_dir)
        remount(data_dir, "rw")
        async with running_writer(data_dir):
            client = await connect(data_dir)
            assert await client.append(intent(2)) == 1
            await client.close()
        assert_sound(data_dir)

    with small_disk(16) as data_dir:
        asyncio.run(scenario(data_dir))


@contextmanager
def ext4_disk() -> Iterator[tuple[Path, Path]]:
    """An ext4 file system on a loop device that turns read-only at an error; yields its image and its place."""
    with data_directory() as home:
        image, path = home / "image", home / "disk"
        path.mkdir()
        with image.open("wb") as file:
            file.truncate(24_000_000)
        subprocess.run(["mkfs.ext4", "-q", image], check=True)
        _mount(image, path)
        try:
            yield image, path
        finally:
            subprocess.run(["umount", "-l", path], check=True)


def _mount(image: Path, path: Path) -> None:
    subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, path], check=True)


def _break(path: Path) -> None:
    """Have the kernel find an error on the file system: from then on every write fails."""
    found = subprocess.run(["findmnt", "-no", "SOURCE", path], check=True, capture_output=True, text=True)
    (Path("/sys/fs/ext4") / Path(found.stdout.strip()).name / "trigger_fs_error").write_text("test")


def test_a_disk_that_turns_read_only_loses_nothing_that_was_acknowledged() -> None:
    async def scenario(image: Path, path: Path) -> None:
        data_dir = path / "var"
        async with running_writer(data_dir):
            client = await connect(data_dir)
            records = [intent(number) for number in range(500)]
            assert await asyncio.gather(*map(client.append, records)) == list(range(500))
            _break(path)
            for _ in range(3):
                with pytest.raises(LogUnavailable, match="read-only"):
                    await client.append(intent(1))
            await client.close()
        subprocess.run(["umount", path], check=True)
        subprocess.run(["e2fsck", "-fy", image], check=False, capture_output=True)
        _mount(image, path)
        async with running_writer(data_dir):
            client = await connect(data_dir)
            await client.append(intent(2))
            await client.close()
        with open_reader(data_dir) as reader:
            assert [data for _, data in reader.read(0, 500)] == records
        assert_sound(data_dir)

    with ext4_disk() as (image, path):
        asyncio.run(scenario(image, path))


def test_a_locked_database_refuses_with_the_reason_and_the_writer_recovers() -> None:
    async def scenario(data_dir: Path) -> None:
        async with running_writer(data_dir):
            client = await connect(data_dir)
            assert await client.append(intent(1)) == 0
            with closing(sqlite3.connect(Paths(data_dir).log, isolation_level=None)) as intruder:
                intruder.execute("BEGIN IMMEDIATE")
                with pytest.raises(LogUnavailable, match="locked"):
                    await client.append(intent(2))
                intruder.execute("ROLLBACK")
            assert await _until_taken(client, intent(3)) == 1
            await client.close()
        assert_sound(data_dir)

    with data_directory() as data_dir:
        asyncio.run(scenario(data_dir))


def test_a_commit_that_the_disk_took_but_called_failed_is_known_before_the_next_acknowledgement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = SqliteStore.append
    failing = True

    def liar(store: SqliteStore, *arguments: object) -> object:
        nonlocal failing
        placed = real(store, *arguments)  # type: ignore[arg-type]
        if failing:
            failing = False
            raise LogUnavailable("log.db: the disk reports an error")
        return placed

    async def scenario(data_dir: Path) -> None:
        async with running_writer(data_dir):
            soc, worker = await connect(data_dir), await connect(data_dir)
            target = {"target_type": "principal", "target": "acme/x", "reason": "r", "owner": "o", "until": 9_000}
            applied = record("containment.applied", 5, facts={"containment": "c1", **target})
            monkeypatch.setattr(SqliteStore, "append", liar)
            with pytest.raises(LogUnavailable):
                await soc.append(applied)
            assert dict(worker.control.containments) == {}
            assert await _until_taken(worker, intent(1)) == 1
            assert list(worker.control.containments) == ["c1"]
            assert worker.control == soc.control
            await soc.close()
            await worker.close()
        assert_sound(data_dir)

    with data_directory() as data_dir:
        asyncio.run(scenario(data_dir))


def test_a_connection_to_the_database_that_broke_is_opened_again() -> None:
    with data_directory() as data_dir, writer_lock(data_dir), closing(Ledger(data_dir, QUICK)) as ledger:
        ledger.append([intent(1)])
        ledger._store.close()
        with pytest.raises(LogUnavailable):
            ledger.append([intent(2)])
        ledger._retry_at = 0.0
        assert ledger.append([intent(3)]) == (1, [])
        ledger.checkpoint()
        assert_sound(data_dir)


def test_a_log_that_is_deleted_under_the_writer_takes_no_more_records() -> None:
    async def scenario(data_dir: Path) -> None:
        async with running_writer(data_dir):
            client = await connect(data_dir)
            await client.append(intent(1))
            for path in data_dir.glob("cordon-log.db*"):
                path.unlink()
            with pytest.raises(LogUnavailable, match="deleted or replaced"):
                await client.append(intent(2))
            await client.close()

    with data_directory() as data_dir:
        asyncio.run(scenario(data_dir))


def test_a_log_that_is_missing_beside_its_key_is_not_begun_anew() -> None:
    with data_directory() as data_dir, writer_lock(data_dir):
        Ledger(data_dir, QUICK).close()
        for path in data_dir.glob("cordon-log.db*"):
            path.unlink()
        with pytest.raises(LogUnavailable, match="restore the log"):
            Ledger(data_dir, QUICK)


def test_a_torn_tail_of_the_write_ahead_log_costs_only_what_was_not_acknowledged() -> None:
    """A power cut in the middle of a commit: the last frames are cut or garbage."""
    with data_directory() as data_dir:
        with writer_lock(data_dir):
            ledger = Ledger(data_dir, QUICK)
            ledger.append([intent(number) for number in range(50)])
            ledger.checkpoint()
            wal = Paths(data_dir).log.with_name("cordon-log.db-wal")
            safe = wal.stat().st_size
            ledger.append([intent(number) for number in range(50, 60)])
            torn = wal.read_bytes()
            main = Paths(data_dir).log.read_bytes()
            ledger.close()
        chance = random.Random(3)
        for cut in [safe, safe + 1, *(chance.randrange(safe, len(torn)) for _ in range(10)), len(torn)]:
            for garbage in (b"", chance.randbytes(4_096)):
                Paths(data_dir).log.write_bytes(main)
                wal.with_name("cordon-log.db-shm").unlink(missing_ok=True)
                wal.write_bytes(torn[:cut] + garbage)
                with writer_lock(data_dir), closing(Ledger(data_dir, QUICK)) as reopened:
                    assert reopened.size == (60 if cut == len(torn) else 50)
                    reopened.append([intent(1)])
                    reopened.checkpoint()
                assert_sound(data_dir)


def test_a_damaged_database_is_refused_at_the_start_not_written_to() -> None:
    with data_directory() as data_dir, writer_lock(data_dir):
        with closing(Ledger(data_dir, QUICK)) as ledger:
            ledger.append([intent(number) for number in range(300)])
            ledger.checkpoint()
        with closing(sqlite3.connect(Paths(data_dir).log)) as db:
            db.execute("UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE level = 1")
            db.commit()
        with pytest.raises(LineageError, match="cordon log verify"):
            Ledger(data_dir, QUICK)
