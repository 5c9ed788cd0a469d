"""The cursor, and how a delivery goes about failing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from detectors.follower import places
from playbooks.errors import LostTurn
from siem.decision_logs.delivery import Cursor
from siem.decision_logs.sink import Entry, Undelivered
from tests.support.collector import collecting
from tests.support.decision_logs import World, until
from tests.support.policies import MINIMAL, write
from tests.support.states import StatePlace

MASK = {"log.rego": 'package system.log\n\nmask := ["/input/secret"]\n'}


def test_a_cursor_is_kept_for_each_destination_and_other_followers_are_left_alone(state_place: StatePlace) -> None:
    engine = state_place.open()
    cursor = Cursor(engine, "siem", lambda _: None)
    assert cursor.load() is None
    cursor.store(7, "connect")
    Cursor(engine, "archive", lambda _: None).store(3, "")
    cursor.store(9, "")
    assert Cursor(state_place.open(), "siem", lambda _: None).load() == (9, "")
    with engine.connect() as connection:
        assert set(connection.scalars(select(places.c.name))) == {"decision-log:siem", "decision-log:archive"}


def test_whose_turn_is_over_stores_nothing(state_place: StatePlace) -> None:
    def over(_: Connection) -> None:
        raise LostTurn("another machine's SOC process has taken over")

    engine = state_place.open()
    Cursor(engine, "siem", lambda _: None).store(4, "")
    with pytest.raises(LostTurn):
        Cursor(engine, "siem", over).store(9, "")
    assert Cursor(engine, "siem", over).load() == (4, "")


def test_a_mask_that_came_while_the_collector_was_away_counts(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        with collecting() as collector:
            collector.always = 503
            world.decide({"secret": 1, "plain": 2})
            async with world.delivering(url=collector.url):
                await until(lambda: collector.refused)
                world.admit(MINIMAL | MASK)
                write(world.policy.bundle, MASK)
                seen = len(collector.refused)
                await until(lambda: any("secret" not in event["input"] for event in collector.refused[seen:]))
                collector.always = 200
                await until(lambda: collector.events)
            assert collector.events[0]["input"] == {"plain": 2}

    with closing(World(tmp_path)) as world:
        asyncio.run(scene(world))


class Failing:
    """A sink that fails, in ways that were not foreseen too."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def deliver(self, entries: Sequence[Entry]) -> int:
        self.times.append(asyncio.get_running_loop().time())
        if len(self.times) % 2:
            raise ZeroDivisionError
        raise Undelivered("status", "the collector answered 500")


def test_no_error_ends_it_and_pauses_grow_up_to_their_bound(tmp_path: Path) -> None:
    async def scene(world: World) -> list[float]:
        failing = Failing()
        world.decide()
        options = {"min_delay_seconds": 0.02, "max_delay_seconds": 0.16}
        async with world.delivering(failing, file=tmp_path / "unused", **options):
            await until(lambda: len(failing.times) == 8)
        return failing.times

    with closing(World(tmp_path)) as world:
        times = asyncio.run(scene(world))
        assert world.count("failures_total", "siem", "unexpected") >= 4
        assert {reason for _, reason in world.said()} == {"unexpected", "status"}
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(pause >= 0.08 for pause in pauses[4:])
