"""The shadow looks on and touches nothing: what it cannot take is skipped, what it breaks down on is its own affair."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from policies.shadow import runner
from policies.shadow import trial as trials_of
from policies.shadow.trial import MOST_RULES, OTHERS, Kind
from tests.support.shadow import ALLOWED, ENDLESS, REFUSED, REFUSES_BOB, Played, played, trial, until

FAILS = 'package cordon.request\ndecision := {"allow": true} if to_number(input.x) == 1\n'


def test_differences_are_counted_by_kind_and_rule_with_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process for all of it, since its start is what takes long."""

    async def scene() -> None:
        trials = trial("r", REFUSES_BOB), trial("own", REFUSES_BOB, "acme"), trial("fails", FAILS)
        async with played(*trials) as world:
            await common(world)
            await own(world)
            await failing(world)
            await crowded(world, monkeypatch)

    asyncio.run(scene())


async def common(world: Played) -> None:
    world.offer("c1", {"name": "ann"})
    world.offer("c2", {"name": "bob"})
    world.offer("c3", {"name": "bob"}, REFUSED)
    world.offer("c4", {"name": "ann"}, REFUSED)
    facts = await world.counted(4)
    assert (facts["rollout"], facts["scope"], facts["compared"], facts["skipped"]) == ("r", "", 4, 0)
    assert facts["differences"] == [
        {"kind": "refused", "count": 1, "rules": [{"rule": "bob", "count": 1}], "calls": ["c2"]},
        {"kind": "allowed", "count": 1, "rules": [{"rule": "old", "count": 1}], "calls": ["c4"]},
    ]
    assert world.shadow.drain() == []
    assert (world.total("same"), world.total("refused"), world.total("allowed")) == (2, 1, 1)


async def own(world: Played) -> None:
    """A tenant's own bundle changes only what the common one allows."""
    world.offer("c1", {"name": "bob"}, REFUSED, "own")  # refused anyway
    world.offer("c2", {"name": "ann"}, REFUSED, "own")  # the own bundle cannot allow it
    world.offer("c3", {"name": "bob"}, ALLOWED, "own")
    world.offer("c4", {"name": "ann"}, ALLOWED, "own", REFUSED)  # the candidate takes the own one's place
    differences = (await world.counted(4))["differences"]
    assert [(each["kind"], each["calls"]) for each in differences] == [("refused", ["c3"]), ("allowed", ["c4"])]
    assert [each["rules"][0]["rule"] for each in differences] == ["tenant:bob", "tenant:old"]


async def failing(world: Played) -> None:
    """An error is a difference, and a refusal."""
    world.offer("c1", {"x": "junk"}, ALLOWED, "fails")
    world.offer("c2", {"x": 12345678901234567890}, ALLOWED, "fails")
    facts = await world.counted(2)
    assert [(each["kind"], each["count"]) for each in facts["differences"]] == [("refused", 2), ("error", 2)]
    assert "junk" not in json.dumps(facts)


async def crowded(world: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room is skipped, and said to be."""
    monkeypatch.setattr(runner, "MOST_WAITING", 3)
    for number in range(10):  # in one turn of the loop: no answer can come
        world.offer(f"c{number}", {"name": "ann"})
    world.offer("long", {"name": "x" * runner.LONGEST_DOCUMENT})
    facts = await world.counted(11)
    assert (facts["compared"], facts["skipped"]) == (3, 8)
    assert world.total("skipped") == 8


def test_an_endless_bundle_is_ended_and_given_up_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RESTART_SECONDS", 0.0)
    monkeypatch.setattr(trials_of, "MOST_BREAKDOWNS", 1)

    async def scene() -> None:
        async with played(trial("r", ENDLESS), trial("fine", REFUSES_BOB)) as world:
            first = world.pid()
            world.offer("c1", {})
            await until(lambda: world.pid() not in {0, first})  # its alarm has ended it
            assert world.broken == ["r"]
            world.offer("c2", {})
            world.offer("c3", {"name": "bob"}, rollout="fine")
            await until(lambda: world.total("refused"))
            facts = {each["rollout"]: each for each in world.shadow.drain()}
            assert facts["r"]["skipped"] == 1
            assert facts["r"]["differences"][0]["rules"] == [{"rule": "broke_down", "count": 1}]
            assert facts["fine"]["differences"][0]["calls"] == ["c3"]

    asyncio.run(scene())


def test_the_process_is_there_only_while_a_bundle_is_in_shadow() -> None:
    async def scene() -> None:
        async with played(trial("r", REFUSES_BOB)) as world:
            pid = world.pid()
            world.shadow.set({})
            await until(lambda: not os.path.exists(f"/proc/{pid}"))
            world.offer("c1", {})
            assert world.shadow.drain() == []

    asyncio.run(scene())


def test_a_bundle_that_makes_up_rules_fills_no_table() -> None:
    kind = Kind()
    for number in range(100):
        kind.add({f"rule-{number}"}, f"call-{number}")
    assert len(kind.rules) == MOST_RULES + 1
    assert kind.rules[OTHERS] == 100 - MOST_RULES
    assert kind.count == 100
    assert len(kind.calls) == 10
