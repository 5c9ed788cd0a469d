"""Collectors that die, hang, refuse and talk nonsense, and a process that dies between delivery and cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from siem.decision_logs.sink import Entry
from tests.support.certificates import write_certificate
from tests.support.collector import Collector, collecting
from tests.support.decision_logs import World, ids, until
from tests.support.gateway import free_ports

NOISE = {"text": "x" * 300}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(World(tmp_path)) as made:
        yield made


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (500, "status"), (429, "refused"), (401, "unauthorized"), (302, "refused"), (404, "refused"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "nonsense"), (b"", "broke_off"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 200_000, "nonsense"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", "nonsense"),
    ],
)  # fmt: skip
def test_whatever_is_answered_nothing_is_lost(
    world: World, collector: Collector, answer: int | bytes, reason: str
) -> None:
    wanted = world.decide(count=3)
    collector.answers = [answer, answer]

    async def scene() -> None:
        async with world.delivering(url=collector.url) as delivery:
            await until(lambda: delivery._next >= 3 and len(world.said()) == 2)

    asyncio.run(scene())
    assert ids(collector.events) == wanted
    assert world.said() == [("lost", reason), ("back", "")]
    assert world.count("failures_total", "siem", reason) == 2
    assert len({path for _, path, _ in collector.requests}) == 1


def test_a_collector_that_dies_and_comes_back_gets_it_all(world: World) -> None:
    port = free_ports(1)[0]
    first = Collector(port)
    wanted = world.decide(count=3)

    async def scene() -> list[dict[str, object]]:
        async with world.delivering(url=f"http://127.0.0.1:{port}") as delivery:
            await until(lambda: delivery._next == 3)
            await asyncio.to_thread(first.close)
            wanted.extend(world.decide(count=3))
            await until(lambda: world.said())
            with collecting(port) as second:
                await until(lambda: len(ids([*first.events, *second.events])) >= 6)
                return [*first.events, *second.events]

    assert ids(asyncio.run(scene())) == wanted


def test_one_that_does_not_answer_is_given_up_and_asked_again(world: World, collector: Collector) -> None:
    wanted = world.decide(count=2)
    collector.answers = [None, None]

    async def scene() -> None:
        async with world.delivering(url=collector.url, timeout_seconds=0.3):
            await until(lambda: ids(collector.events) == wanted)

    asyncio.run(scene())
    assert world.said()[0] == ("lost", "timeout")


def test_an_end_does_not_wait_for_a_collector_that_hangs(world: World, collector: Collector) -> None:
    world.decide(count=2)
    collector.always = None

    async def scene() -> float:
        async with world.delivering(url=collector.url, timeout_seconds=600):
            await until(lambda: collector.requests)
            began = asyncio.get_running_loop().time()
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(scene()) < 30
    assert world.cursor().load() == (0, "")


def test_a_chunk_that_is_too_large_for_the_collector_is_halved(world: World, collector: Collector) -> None:
    wanted = world.decide(NOISE, count=64)
    collector.largest = 700

    async def scene() -> None:
        async with world.delivering(url=collector.url) as delivery:
            await until(lambda: delivery._next == 64)

    asyncio.run(scene())
    assert ids(collector.events) == wanted
    assert all("input" in event for event in collector.events)
    assert world.said() == []


def test_a_single_event_that_is_too_large_goes_without_input_and_says_so(world: World, collector: Collector) -> None:
    many = {str(n): hash((n, "x")) % 10_000_000 for n in range(3_000)}
    before, large, after = (world.decide(document)[0] for document in (NOISE, many, NOISE))
    collector.largest = 5_000

    async def scene() -> None:
        async with world.delivering(url=collector.url) as delivery:
            await until(lambda: delivery._next == 3)

    asyncio.run(scene())
    assert ids(collector.events) == [before, large, after]
    assert ["input" in event for event in collector.events] == [True, False, True]
    assert collector.events[1]["erased"] == ["/input"]
    assert collector.events[1]["result"]["allow"] is True


def test_what_is_too_large_even_so_is_not_dropped(world: World, collector: Collector) -> None:
    world.decide(count=1)
    collector.largest = 10

    async def scene() -> None:
        async with world.delivering(url=collector.url):
            await until(lambda: world.said() == [("lost", "too_large")])
            collector.largest = 1 << 20
            await until(lambda: len(collector.events) == 1)

    asyncio.run(scene())


class Dying:
    """A sink that takes events and kills the delivery before the cursor can follow."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.victim: asyncio.Event = asyncio.Event()

    async def deliver(self, entries: Sequence[Entry]) -> int:
        self.taken += [orjson.loads(entry.line)["decision_id"] for entry in entries[:2]]
        self.victim.set()
        await asyncio.Event().wait()
        raise AssertionError("it lives on")


def test_what_was_taken_before_the_cursor_moved_comes_again_with_the_same_ids(world: World) -> None:
    wanted = world.decide(NOISE, count=5)

    async def scene() -> tuple[list[str], list[str]]:
        dying = Dying()
        async with world.delivering(dying, file=world.data_dir / "unused"):
            await dying.victim.wait()
        with collecting() as collector:
            async with world.delivering(url=collector.url):
                await until(lambda: len(collector.events) == 5)
            return dying.taken, collector.ids

    first, then = asyncio.run(scene())
    assert first == wanted[:2]
    assert then == wanted


def test_a_log_or_a_state_that_cannot_be_read_is_waited_for(world: World, collector: Collector) -> None:
    wanted = world.decide(count=2)
    hidden = world.data_dir / "hidden"
    (world.data_dir / "cordon-log.db").rename(hidden)

    async def scene() -> None:
        async with world.delivering(url=collector.url):
            await until(lambda: world.count("failures_total", "siem", "log") >= 2)
            hidden.rename(world.data_dir / "cordon-log.db")
            await until(lambda: ids(collector.events) == wanted)

    asyncio.run(scene())


def test_a_loss_is_recorded_as_soon_as_the_log_can_take_it(world: World, collector: Collector) -> None:
    world.decide(count=1)
    collector.always = 500
    world.log.down = True

    async def scene() -> None:
        async with world.delivering(url=collector.url):
            await until(lambda: world.count("failures_total", "siem", "status") >= 3)
            assert world.said() == []
            world.log.down = False
            await until(lambda: world.said() == [("lost", "status")])

    asyncio.run(scene())


def test_a_missing_secret_is_told_without_it_and_read_again(world: World, collector: Collector, tmp_path: Path) -> None:
    world.decide(count=1)
    secret = tmp_path / "token"

    async def scene() -> None:
        async with world.delivering(url=collector.url, credential=f"file:{secret}"):
            await until(lambda: world.said() == [("lost", "credential")])
            secret.write_text("old-secret")
            collector.answers = [401]
            await until(lambda: collector.requests)
            secret.write_text("new-secret")
            await until(lambda: collector.events)

    asyncio.run(scene())
    assert collector.requests[-1][2]["authorization"] == "Bearer new-secret"
    written = b"".join(data for _, data in world.log.store.read(0, 100))
    assert b"old-secret" not in written and b"new-secret" not in written


def test_a_log_that_was_restored_and_is_shorter_loses_nothing_new(world: World, collector: Collector) -> None:
    world.decide(count=2)
    world.cursor().store(50, "")

    async def scene() -> list[str]:
        async with world.delivering(url=collector.url) as delivery:
            await until(lambda: delivery._next == 2)
            wanted = world.decide(count=2)
            await until(lambda: len(collector.events) == 2)
            return wanted

    assert asyncio.run(scene()) == collector.ids


def test_a_single_failure_is_no_loss(world: World, collector: Collector) -> None:
    wanted = world.decide(count=2)
    collector.answers = [503]

    async def scene() -> None:
        async with world.delivering(url=collector.url) as delivery:
            await until(lambda: delivery._next == 2)

    asyncio.run(scene())
    assert collector.ids == wanted
    assert world.said() == []


def test_events_go_only_to_a_collector_whose_certificate_verifies(world: World, tmp_path: Path) -> None:
    wanted = world.decide(count=2)
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    write_certificate(certificate, key)

    async def scene(collector: Collector) -> None:
        async with world.delivering(url=collector.url):
            await until(lambda: world.said() == [("lost", "tls")])
        assert not collector.requests
        async with world.delivering(url=collector.url, ca=certificate):
            await until(lambda: ids(collector.events) == wanted)

    with collecting(certificate=(certificate, key)) as collector:
        asyncio.run(scene(collector))
