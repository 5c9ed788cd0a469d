"""What every destination of decision logs does: all events, in order, and nothing forgotten when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.collector import Collector, collecting
from tests.support.decision_logs import World, ids, lines, until


class Destination:
    """A collector or a file: its settings, what it got, and how to break and mend it."""

    def __init__(
        self, settings: dict[str, Any], got: Callable[[], list[dict[str, Any]]], away: Callable[[bool], object]
    ) -> None:
        self.settings = settings
        self.got = got
        self.away = away


def _collector(collector: Collector) -> Destination:
    def away(gone: bool) -> None:
        collector.always = 503 if gone else 200

    return Destination({"url": collector.url, "upload_size_limit_bytes": 1_024}, lambda: collector.events, away)


def _file(folder: Path) -> Destination:
    folder.mkdir()
    file = folder / "decisions.jsonl"

    def away(gone: bool) -> None:
        if gone:
            folder.rename(folder.with_name("elsewhere"))
        else:
            folder.with_name("elsewhere").rename(folder)

    return Destination({"file": file}, lambda: lines(file), away)


@pytest.fixture(params=["collector", "file"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Destination]:
    if request.param == "file":
        yield _file(tmp_path / "logs")
        return
    with collecting() as collector:
        yield _collector(collector)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(World(tmp_path)) as made:
        yield made


def test_everything_comes_in_the_order_of_the_log_and_once(world: World, destination: Destination) -> None:
    wanted = world.decide({"path": "/first"}, count=120)

    async def scene() -> None:
        async with world.delivering(**destination.settings, labels=["site=lab"]) as delivery:
            await until(lambda: delivery._next == 120)
            wanted.extend(world.decide({"path": "/then"}, count=5))
            await until(lambda: delivery._next == 125)
        async with world.delivering(**destination.settings) as delivery:
            await until(lambda: delivery._next == 125)

    asyncio.run(scene())
    events = destination.got()
    assert ids(events) == wanted
    assert events[0]["input"] == {"path": "/first"}
    assert events[0]["labels"]["site"] == "lab"
    assert world.count("delivered_total", "siem") == 125
    assert world.count("lag_records", "siem") == 0
    assert world.said() == []


def test_while_it_is_away_the_cursor_stays_and_then_nothing_is_missing(world: World, destination: Destination) -> None:
    wanted = world.decide(count=3)

    async def scene() -> None:
        async with world.delivering(**destination.settings) as delivery:
            await until(lambda: delivery._next == 3)
            destination.away(True)
            wanted.extend(world.decide(count=4))
            await until(lambda: world.count("lag_records", "siem") >= 4)
            await until(lambda: world.count("lag_seconds", "siem") > 0 and len(world.said()) == 1)
            assert delivery._next == 3
            assert world.cursor().load() in {(3, ""), (3, world.said()[0][1])}
            destination.away(False)
            await until(lambda: ids(destination.got()) == wanted)
            await until(lambda: len(world.said()) == 2 and world.count("lag_seconds", "siem") == 0)

    asyncio.run(scene())
    assert [kind for kind, _ in world.said()] == ["lost", "back"]


def test_who_is_lost_at_the_end_is_back_in_the_next_life(world: World, destination: Destination) -> None:
    wanted = world.decide(count=2)
    destination.away(True)

    async def scene() -> None:
        async with world.delivering(**destination.settings):
            await until(lambda: (world.cursor().load() or (0, ""))[1])
        destination.away(False)
        async with world.delivering(**destination.settings):
            await until(lambda: len(world.said()) == 2)

    asyncio.run(scene())
    assert [kind for kind, _ in world.said()] == ["lost", "back"]
    assert ids(destination.got()) == wanted


def test_a_new_destination_may_begin_at_the_end(world: World, destination: Destination) -> None:
    world.decide(count=7)

    async def scene() -> list[str]:
        async with world.delivering(**destination.settings, begin="now") as delivery:
            await until(lambda: delivery._next == 7)
            later = world.decide(count=2)
            await until(lambda: delivery._next == 9)
            return later

    later = asyncio.run(scene())
    assert ids(destination.got()) == later
