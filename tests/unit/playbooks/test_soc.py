"""The SOC loop on a real log writer: abuse in the log leads to a containment at a worker, quickly and once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from detectors.alerts import list_alerts
from detectors.settings import Detection
from lineage.actions import Stamp, release_containment
from lineage.client import LogClient
from lineage.control import ControlState
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.reader import LogReader, open_reader
from lineage.record import encode
from lineage.settings import Lineage
from lineage.state import open_state
from lineage.writer import run_writer
from playbooks.errors import AlreadyRunning
from playbooks.soc import run_soc
from tests.support import records

SETTINGS = Detection.model_validate({"refusal_burst": {"threshold": 5, "quiet_seconds": 0}, "cursor_seconds": 0.05})


class Running:
    """A part that runs as a task and can be stopped in order, or as by SIGKILL (nothing more is done by it)."""

    def __init__(self, run: Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]]) -> None:
        self._stop, self._ready = asyncio.Event(), asyncio.Event()
        self._task = asyncio.ensure_future(run(self._stop, self._ready.set))

    async def ready(self) -> None:
        async with asyncio.timeout(10):
            while not self._ready.is_set() and not self._task.done():
                await asyncio.sleep(0.005)
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        self._stop.set()
        await self._task

    async def kill(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def writer(data_dir: Path) -> Running:
    return Running(lambda stop, ready: run_writer(data_dir, Lineage(), Meter("writer-0"), stop, ready))


def soc(data_dir: Path) -> Running:
    state = data_dir / "cordon.db"
    return Running(lambda stop, ready: run_soc(data_dir, state, SETTINGS, Meter("soc-0"), stop, ready, boot="soc-0-x"))


class Worker:
    """A gateway worker's view: refusals go in, control changes come out."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.client: LogClient

    def on_control(self, state: ControlState) -> None:
        self.changed.set()

    async def refuse(self, principal: str, count: int) -> None:
        now = Stamp.now("x").at
        await asyncio.gather(*(self.client.append(records.refused(now, principal)) for _ in range(count)))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def contained(self) -> list[str]:
        return [containment.target for containment in self.client.control.containments.values()]


@asynccontextmanager
async def worker(data_dir: Path) -> AsyncIterator[Worker]:
    seen = Worker()
    seen.client = await LogClient.connect(Paths(data_dir).socket, on_control=seen.on_control)
    yield seen
    await seen.client.close()


def kinds(reader: LogReader, *wanted: str) -> list[dict[str, object]]:
    facts = [orjson.loads(record) for _, record in reader.read(0, 100_000)]
    return [record for record in facts if record["kind"] in wanted]


def test_from_the_commit_of_the_evidence_to_the_worker_takes_well_under_a_second(tmp_path: Path) -> None:
    async def scenario() -> list[float]:
        log, loop = writer(tmp_path), soc(tmp_path)
        await loop.ready()
        times = []
        async with worker(tmp_path) as gateway:
            for n in range(10):
                await gateway.refuse(f"acme/bot{n}", 5)
                committed = time.perf_counter()
                await gateway.until(lambda: f"acme/bot{n}" in gateway.contained())  # noqa: B023
                times.append(time.perf_counter() - committed)
        await loop.stop()
        await log.stop()
        return times

    times = sorted(asyncio.run(scenario()))
    assert times[-1] < 1.0, times


def test_a_release_lasts_until_there_is_new_evidence(tmp_path: Path) -> None:
    async def scenario() -> None:
        log, loop = writer(tmp_path), soc(tmp_path)
        await loop.ready()
        async with worker(tmp_path) as gateway:
            await gateway.refuse("acme/bot", 7)
            await gateway.until(gateway.contained)
            (containment,) = gateway.client.control.containments
            known = gateway.client.control.containments
            release = release_containment(
                Stamp.now("cli"), containment=containment, by="alice", reason="ok", known=known
            )
            await gateway.client.append(encode(release))
            assert gateway.contained() == []
            await loop.kill()
            loop = soc(tmp_path)
            await loop.ready()
            await gateway.refuse("acme/bot", 2)
            await asyncio.sleep(0.2)
            assert gateway.contained() == []
            await gateway.refuse("acme/bot", 5)
            await gateway.until(gateway.contained)
        await loop.stop()
        await log.stop()

    asyncio.run(scenario())
    with_alerts = open_state(tmp_path / "cordon.db")
    assert len(list_alerts(with_alerts)) == 2
    with_alerts.dispose()


@pytest.mark.parametrize("seed", range(6))
def test_writer_and_soc_killed_in_between_lose_no_alert_and_repeat_none(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        log, loop = writer(tmp_path), soc(tmp_path)
        await loop.ready()
        async with worker(tmp_path) as gateway:
            for n in range(4):
                await gateway.refuse(f"acme/bot{n}", 5)
                await asyncio.sleep(((seed * 7 + n * 3) % 10) / 500)
                if (seed + n) % 2:
                    await loop.kill()
                    loop = soc(tmp_path)
                else:
                    await log.kill()
                    log = writer(tmp_path)
                    await log.ready()
                    async with asyncio.timeout(5):
                        while not gateway.client.connected:
                            await asyncio.sleep(0.01)
            await gateway.until(lambda: len(gateway.contained()) == 4)
        await loop.stop()
        await log.stop()

    asyncio.run(scenario())
    reader = open_reader(tmp_path)
    alerts = [str(record["alert"]) for record in kinds(reader, "alert.raised")]
    contained = [str(record["target"]) for record in kinds(reader, "containment.applied")]
    reader.close()
    assert len(set(alerts)) == 4
    assert sorted(set(contained)) == [f"acme/bot{n}" for n in range(4)]
    assert len(alerts) == 4 and len(contained) == 4


def test_two_loops_on_one_data_directory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playbooks.soc.PATIENCE_SECONDS", 0.3)

    async def scenario() -> None:
        log, first = writer(tmp_path), soc(tmp_path)
        await first.ready()
        with pytest.raises(AlreadyRunning, match=r"soc\.lock"):
            await soc(tmp_path).ready()
        await first.stop()
        second = soc(tmp_path)
        await second.ready()
        await second.stop()
        await log.stop()

    asyncio.run(scenario())
