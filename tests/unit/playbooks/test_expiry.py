"""The end of a containment is written once, and only when it is over."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lineage.actions import Stamp, apply_containment
from lineage.record import encode
from playbooks.expiry import Watched, expire
from tests.support.followed import StoreLog


def contain(log: StoreLog, target: str, at: int, seconds: int) -> None:
    record = apply_containment(
        Stamp(at, "soc"), target_type="endpoint", target=target, reason="test", owner="alice", seconds=seconds
    )
    log.put(encode(record))


def test_the_end_is_written_once_also_when_the_writer_was_away(tmp_path: Path) -> None:
    log = StoreLog(tmp_path / "log.db")
    now = Stamp.now("x").at
    contain(log, "eu", now - 5_000, 5)
    contain(log, "us", now, 600)

    watched = Watched()
    log.on_append = lambda: watched.take_up(log.control)
    log.on_append()

    async def scenario() -> None:
        stop = asyncio.Event()
        log.down = True
        running = asyncio.create_task(expire(log, watched, "soc-1", stop))
        await asyncio.sleep(0.05)
        log.down = False
        async with asyncio.timeout(3):
            while not log.records("containment.expired"):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.6)
        stop.set()
        await running

    asyncio.run(scenario())
    assert len(log.records("containment.expired")) == 1
    assert [containment.target for containment in log.control.containments.values()] == ["us"]


def test_a_standby_whose_clock_is_ahead_ends_no_containment_early_when_it_takes_over(tmp_path: Path) -> None:
    """It would end it for every machine: the record takes it out of the control state."""
    log = StoreLog(tmp_path / "log.db")
    start = Stamp.now("x").at
    passed = 0
    watched = Watched(wall=lambda: start + 3_600_000 + passed, running=lambda: 77 + passed)
    watched.take_up(log.control)
    contain(log, "eu", start, 600)
    watched.take_up(log.control)
    passed = 599_000

    async def takes_over() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(expire(log, watched, "soc-2", stop))
        await asyncio.sleep(0.05)
        stop.set()
        await running

    asyncio.run(takes_over())
    assert log.records("containment.expired") == []
    passed = 600_000
    asyncio.run(takes_over())
    assert len(log.records("containment.expired")) == 1
