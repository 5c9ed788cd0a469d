"""The shadow process under faults: killed at work, out of memory, stopped. Calls go on, decisions are counted."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path

import pytest

from policies.shadow import runner
from tests.support.shadow import ENDLESS, REFUSES_BOB, Played, played, trial, until


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RESTART_SECONDS", 0.0)


def begun(world: Played) -> int:
    return int.from_bytes(os.pread(world.shadow._progress.fileno(), 8, 0), "big")


def test_one_that_is_killed_at_work_is_started_again_and_no_decision_goes_uncounted() -> None:
    async def scene() -> None:
        async with played(trial("r", ENDLESS), trial("fine", REFUSES_BOB)) as world:
            first = world.pid()
            await until(lambda: world.shadow._answered == 2)  # both are loaded
            world.offer("c1", {})
            for number in range(3):
                world.offer(f"later-{number}", {"name": "bob"}, rollout="fine")
            await until(lambda: begun(world) == 3)
            os.kill(first, signal.SIGKILL)
            await until(lambda: world.pid() not in {0, first})
            await world.ready()
            world.offer("c2", {"name": "bob"}, rollout="fine")
            await until(lambda: world.total("refused"))
            facts = {each["rollout"]: each for each in world.shadow.drain()}
            assert (facts["r"]["compared"], facts["r"]["skipped"]) == (1, 0)
            assert facts["r"]["differences"] == [
                {"kind": "error", "count": 1, "rules": [{"rule": "broke_down", "count": 1}], "calls": ["c1"]}
            ]
            assert (facts["fine"]["compared"], facts["fine"]["skipped"]) == (1, 3)
            assert world.broken == []

    asyncio.run(scene())


def test_one_that_has_no_memory_left_ends_and_another_goes_on() -> None:
    async def scene() -> None:
        async with played(trial("r", REFUSES_BOB)) as world:
            first, process = world.pid(), world.shadow._process
            await until(lambda: world.shadow._answered == 1)
            size = int(Path(f"/proc/{first}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(first, resource.RLIMIT_AS, (size, size))
            for number in range(20):
                world.offer(f"c{number}", {"name": "x" * 60_000})
            await until(lambda: world.pid() not in {0, first})
            assert process is not None and process.get_returncode() not in {0, -signal.SIGALRM}
            await world.ready()
            world.offer("again", {"name": "bob"})
            await until(lambda: world.total("refused"))
            (facts,) = world.shadow.drain()
            assert int(str(facts["compared"])) + int(str(facts["skipped"])) == 21
            assert facts["differences"][0]["calls"] == ["again"]
            assert world.broken == []

    asyncio.run(scene())


def test_one_that_stands_still_takes_no_more_than_its_room_and_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with played(trial("r", REFUSES_BOB)) as world:
            first = world.pid()
            await until(lambda: world.shadow._answered == 1)
            os.kill(first, signal.SIGSTOP)
            offered = runner.MOST_WAITING + 10
            for number in range(offered):
                world.offer(f"c{number}", {"name": "bob", "padding": "x" * 20_000})
            assert world.shadow._bytes <= runner.MOST_WAITING_BYTES
            assert len(world.shadow._sent) < offered
            world.shadow.drain()
            assert world.pid() == first, "it has a while to answer"
            monkeypatch.setattr(runner, "STALLED_SECONDS", 0.0)
            left_out = sum(int(str(facts["skipped"])) for facts in world.shadow.drain())
            monkeypatch.undo()
            monkeypatch.setattr(runner, "RESTART_SECONDS", 0.0)
            await until(lambda: world.pid() not in {0, first})
            await world.ready()
            world.offer("again", {"name": "bob"})
            await until(lambda: world.total("refused"))
            (facts,) = world.shadow.drain()
            assert (facts["compared"], world.total("skipped"), left_out) == (1, offered, 0)
            assert [each["kind"] for each in facts["differences"]] == ["refused"], "it is no fault of the bundle's"

    asyncio.run(scene())
