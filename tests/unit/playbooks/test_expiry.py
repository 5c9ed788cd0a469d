"""The end of a containment is written once, and only when it is over."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lineage.actions import Stamp, apply_containment
from lineage.record import encode
from playbooks.expiry import expire
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

    async def scenario() -> None:
        stop = asyncio.Event()
        log.down = True
        running = asyncio.create_task(expire(log, lambda: log.control, "soc-1", stop))
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
