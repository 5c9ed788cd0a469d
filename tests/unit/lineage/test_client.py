"""The client of the log writer: coalescing, loss, reconnection, against real writers and against scripted ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lineage import client as client_module
from lineage import wire
from lineage.client import LogClient
from lineage.control import ControlState
from lineage.errors import LogUnavailable, RecordError
from lineage.paths import Paths
from tests.support.logs import connect, data_directory, running_writer
from tests.support.records import intent

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(data_dir: Path, answer: Answer) -> Any:
    """A log writer that says what a test wants it to say."""
    Paths(data_dir).run.mkdir(mode=0o700, exist_ok=True)
    server = await asyncio.start_unix_server(answer, str(Paths(data_dir).socket))
    try:
        yield Paths(data_dir).socket
    finally:
        server.close()


WELCOME = wire.welcome(0, ControlState().dump())


def test_without_a_writer_connecting_fails_with_advice() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir, pytest.raises(LogUnavailable, match="cordon up"):
            await LogClient.connect(Paths(data_dir).socket)

    asyncio.run(scenario())


def test_a_writer_that_never_welcomes_is_given_up() -> None:
    async def scenario() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        with data_directory() as data_dir:
            async with scripted(data_dir, silent) as socket, asyncio.timeout(3):
                with pytest.raises(LogUnavailable):
                    await LogClient.connect(socket, patience=0.1)

    asyncio.run(scenario())


def test_appends_of_one_turn_leave_in_one_write() -> None:
    async def scenario() -> None:
        reads: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(8)
            writer.write(WELCOME)
            reads.append(await reader.read(1_000_000))
            writer.write(wire.ack(0, 20, 100))

        with data_directory() as data_dir:
            async with scripted(data_dir, answer) as socket:
                client = await LogClient.connect(socket)
                records = [intent(number) for number in range(20)]
                assert await asyncio.gather(*map(client.append, records)) == list(range(100, 120))
                got = wire.Decoder(1_000_000).feed(reads[0])
                assert got == [(wire.APPEND, data) for data in records]
                await client.close()

    asyncio.run(scenario())


def test_answers_find_their_append_in_any_order() -> None:
    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(8)
            writer.write(WELCOME)
            await reader.read(1_000_000)
            writer.write(wire.refused(1, 2, "no") + wire.ack(3, 1, 9) + wire.ack(0, 1, 8))

        with data_directory() as data_dir:
            async with scripted(data_dir, answer) as socket:
                client = await LogClient.connect(socket)
                answers = await asyncio.gather(*[client.append(intent(1)) for _ in range(4)], return_exceptions=True)
                assert (answers[0], answers[3]) == (8, 9)
                assert [str(answer) for answer in answers[1:3]] == ["no", "no"]
                await client.close()

    asyncio.run(scenario())


def test_a_cancelled_append_does_not_disturb_the_others() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            async with running_writer(data_dir):
                client = await connect(data_dir)
                appends = [client.append(intent(number)) for number in range(5)]
                appends[2].cancel()
                assert await asyncio.gather(*appends[:2], *appends[3:]) == [0, 1, 3, 4]
                await client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [0, 65_536])
def test_a_record_of_an_impossible_size_fails_at_once_and_harms_nothing(size: int) -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            async with running_writer(data_dir):
                client = await connect(data_dir)
                with pytest.raises(RecordError):
                    await client.append(b"x" * size)
                with pytest.raises(RecordError):
                    await client.append(intent(1), side=b"x" * (wire.MAX_SIDE + 1))
                assert await client.append(intent(1), side=b"x" * wire.MAX_SIDE) == 0
                await client.close()

    asyncio.run(scenario())


def test_the_number_of_unanswered_appends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_PENDING", 50)

    async def scenario() -> None:
        with data_directory() as data_dir:
            async with running_writer(data_dir):
                client = await connect(data_dir)
                answers = await asyncio.gather(*[client.append(intent(1)) for _ in range(80)], return_exceptions=True)
                assert sum(isinstance(answer, LogUnavailable) for answer in answers) == 30
                assert await client.append(intent(1)) == 50
                await client.close()

    asyncio.run(scenario())


def test_the_bytes_that_the_writer_has_not_read_are_bounded() -> None:
    async def scenario() -> None:
        hold = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(8)
            writer.write(WELCOME)
            await hold.wait()
            writer.close()

        with data_directory() as data_dir:
            async with scripted(data_dir, answer) as socket:
                client = await LogClient.connect(socket)
                blob = bytes(wire.MAX_SIDE)
                appends = [client.append(intent(number), side=blob) for number in range(30)]
                refused = [append for append in appends if append.done()]
                assert 5 < len(refused) < 20
                with pytest.raises(LogUnavailable, match="too many"):
                    await refused[0]
                await asyncio.sleep(0)
                late = [client.append(intent(1), side=blob) for _ in range(2)]
                assert late[1].done(), "what was handed to the socket but not read still counts"
                hold.set()
                await asyncio.gather(*appends, *late, return_exceptions=True)
                await client.close()

    asyncio.run(scenario())


def test_when_the_writer_goes_what_waits_fails_and_new_appends_fail_at_once() -> None:
    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(8)
            writer.write(WELCOME)
            await reader.readexactly(10)
            writer.close()

        with data_directory() as data_dir:
            async with scripted(data_dir, answer) as socket:
                client = await LogClient.connect(socket)
                waiting = [client.append(intent(number)) for number in range(3)]
                for append in waiting:
                    with pytest.raises(LogUnavailable, match="lost"):
                        await append
                assert not client.connected
                late = client.append(intent(1))
                assert late.done()
                with pytest.raises(LogUnavailable, match="away"):
                    await late
                await client.close()

    asyncio.run(scenario())


def test_after_a_restart_the_client_is_back_with_fresh_numbers_and_state() -> None:
    async def scenario() -> None:
        states: list[ControlState] = []
        with data_directory() as data_dir:
            async with running_writer(data_dir):
                client = await LogClient.connect(Paths(data_dir).socket, on_control=states.append)
                for number in range(3):
                    await client.append(intent(number))
            async with asyncio.timeout(2):
                while client.connected:
                    await asyncio.sleep(0.005)
            async with running_writer(data_dir):
                async with asyncio.timeout(1):
                    while not client.connected:
                        await asyncio.sleep(0.005)
                assert await client.append(intent(9)) == 3
                assert len(states) == 2
                await client.close()

    asyncio.run(scenario())


def test_writers_that_are_silent_for_a_while_leave_one_connection_in_the_end() -> None:
    """Attempts that fail must not go on beside the one that succeeds."""

    async def scenario() -> None:
        live = 0
        silent = 4

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal live, silent
            live += 1
            await reader.readexactly(8)
            if silent:
                silent -= 1
            else:
                writer.write(WELCOME)
            while await reader.read(1_000):
                writer.write(wire.ack(0, 1, 7))
            live -= 1
            writer.close()

        async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(8)
            writer.write(WELCOME)
            await reader.read(1)
            writer.close()

        with data_directory() as data_dir:
            async with scripted(data_dir, gone) as socket:
                client = await LogClient.connect(socket, patience=0.05)
                with pytest.raises(LogUnavailable):
                    await client.append(intent(1))
            Paths(data_dir).socket.unlink(missing_ok=True)
            async with scripted(data_dir, answer), asyncio.timeout(5):
                while not client.connected:
                    await asyncio.sleep(0.005)
                await asyncio.sleep(0.15)
                assert (live, silent) == (1, 0)
                assert await client.append(intent(1)) == 7
                await client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff\xff\xff\xff\x12",
        wire.frame(99, b""),
        wire.frame(wire.ACK, b"short"),
        wire.frame(wire.SIZE, b""),
        wire.control([(1, b"not json")]),
        wire.control([(1, b'{"kind":"containment.applied"}')]),
        wire.welcome(0, b"not json"),
        wire.welcome(0, b'{"epoch":0}'),
    ],
)
def test_a_writer_that_breaks_the_protocol_is_left(bad: bytes) -> None:
    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(8)
            writer.write(WELCOME)
            await reader.readexactly(5)
            writer.write(bad)

        with data_directory() as data_dir:
            async with scripted(data_dir, answer) as socket:
                client = await LogClient.connect(socket)
                with pytest.raises(LogUnavailable):
                    await asyncio.wait_for(client.append(intent(1)), 5)
                await client.close()

    asyncio.run(scenario())


def test_an_acknowledgement_of_nothing_is_ignored() -> None:
    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(8)
            writer.write(WELCOME + wire.ack(70, 3, 5) + wire.refused(80, 1, "x"))
            await reader.readexactly(5)
            writer.write(wire.ack(0, 1, 5))

        with data_directory() as data_dir:
            async with scripted(data_dir, answer) as socket:
                client = await LogClient.connect(socket)
                assert await client.append(intent(1)) == 5
                await client.close()

    asyncio.run(scenario())


def test_closing_fails_what_waits_and_stays_closed() -> None:
    async def scenario() -> None:
        with data_directory() as data_dir:
            async with running_writer(data_dir):
                client = await connect(data_dir)
                waiting = client.append(intent(1))
                await client.close()
                with pytest.raises(LogUnavailable):
                    await waiting
                with pytest.raises(LogUnavailable):
                    await client.append(intent(2))
                await client.close()
                await asyncio.sleep(0.05)
                assert not client.connected

    asyncio.run(scenario())
