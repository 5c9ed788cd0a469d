"""The log for the command line: with a writer, without one, and while one starts or ends."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from pathlib import Path

import pytest

from lineage import local
from lineage.errors import LogUnavailable, RecordError
from lineage.ledger import Ledger, writer_lock
from lineage.local import open_log
from lineage.paths import Paths
from lineage.settings import Lineage
from tests.support.logs import QUICK, connect, data_directory, running_writer
from tests.support.records import intent, record

CREATED = record(
    "admin.key_created",
    5,
    facts={
        "key": "k1",
        "name": "ci",
        "tenant": "acme",
        "roles": ["agent"],
        "key_kind": "caller",
        "digest": "ab" * 32,
        "by": "alice",
    },
)


def test_without_a_writer_the_command_line_writes_itself() -> None:
    with data_directory() as data_dir:
        with open_log(data_dir, Lineage()) as log:
            assert log.append(intent(1)) == 0
            assert log.append(CREATED) == 1
            assert list(log.control.keys) == ["ab" * 32]
            assert log.reader.read(0, 10) == [(0, intent(1)), (1, CREATED)]
        with open_log(data_dir, Lineage()) as log:
            assert log.reader.checkpoint_size() == 2
            assert list(log.control.keys) == ["ab" * 32]


def test_with_a_writer_the_command_line_asks_it() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            async with running_writer(data_dir):
                worker = await connect(data_dir)

                def command() -> int:
                    with open_log(data_dir, QUICK) as log:
                        index = log.append(CREATED)
                        assert list(log.control.keys) == ["ab" * 32]
                        assert log.append(intent(1)) == index + 1
                        return index

                index = await asyncio.to_thread(command)
                assert await worker.append(intent(2)) == index + 2
                assert list(worker.control.keys) == ["ab" * 32]
                await worker.close()

    asyncio.run(scenario())


def test_a_record_that_cannot_be_folded_is_refused_either_way() -> None:
    bad = record("admin.key_revoked", 5, facts={"by": "alice"})

    async def beside_a_writer(data_dir: Path) -> None:
        def command() -> None:
            with open_log(data_dir, QUICK) as log, pytest.raises(LogUnavailable, match="'key'"):
                log.append(bad)

        async with running_writer(data_dir):
            await asyncio.to_thread(command)

    with data_directory() as data_dir:
        with open_log(data_dir, QUICK) as log, pytest.raises(RecordError, match="'key'"):
            log.append(bad)
        asyncio.run(beside_a_writer(data_dir))


def test_a_writer_that_is_just_ending_is_waited_for() -> None:
    with data_directory() as data_dir:
        locked, release = threading.Event(), threading.Event()

        def hold() -> None:
            with writer_lock(data_dir), closing(Ledger(data_dir, QUICK)):
                locked.set()
                release.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        locked.wait()
        threading.Timer(0.2, release.set).start()
        with open_log(data_dir, QUICK) as log:
            assert log.append(intent(1)) == 0
        thread.join()


def test_a_lock_that_is_held_for_ever_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "PATIENCE", 0.2)
    with (
        data_directory() as data_dir,
        writer_lock(data_dir),
        pytest.raises(LogUnavailable, match="another log writer"),
        open_log(data_dir, QUICK),
    ):
        pass


def test_a_writer_that_dies_in_between_is_an_error_not_a_hang() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            opened, gone, failed = threading.Event(), threading.Event(), threading.Event()

            def command() -> None:
                with open_log(data_dir, QUICK) as log:
                    opened.set()
                    gone.wait()
                    with pytest.raises(LogUnavailable):
                        log.append(intent(1))
                    failed.set()

            async with running_writer(data_dir):
                thread = asyncio.create_task(asyncio.to_thread(command))
                await asyncio.to_thread(opened.wait)
            gone.set()
            await thread
            assert failed.is_set()

    asyncio.run(scenario())


def test_a_new_writer_takes_over_when_the_command_line_is_done() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            with open_log(data_dir, QUICK) as log:
                log.append(intent(1))
            async with running_writer(data_dir):
                client = await connect(data_dir)
                assert await client.append(intent(2)) == 1
                await client.close()
            assert Paths(data_dir).log.exists()

    asyncio.run(scenario())
