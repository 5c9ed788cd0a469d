"""Two machines' SOC processes on one database: one works, the other stands by and takes over; nothing is done twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson
import pytest

from detectors.alerts import list_alerts
from detectors.follower import Follower, places
from detectors.outbox import Outbox
from detectors.settings import Detection
from lineage.client import LogClient
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.reader import open_reader
from lineage.state import open_state
from playbooks import turn
from playbooks.errors import LostTurn
from playbooks.soc import run_soc
from playbooks.turn import take_turn
from tests.support import records
from tests.support.followed import StoreLog
from tests.support.logs import QUICK, connect, running_writer
from tests.support.postgres import Postgres, postgres
from tests.support.relay import relay

SETTINGS = Detection.model_validate({"refusal_burst": {"threshold": 5, "quiet_seconds": 0}, "cursor_seconds": 0.05})
TAKEOVER_SECONDS = 3.0


class Soc:
    """The SOC process of one machine, as a task; `kill` is what SIGKILL does: nothing more is done by it."""

    def __init__(self, data_dir: Path, database: str) -> None:
        self.meter = Meter("soc-0")
        self.ready, self._stop = asyncio.Event(), asyncio.Event()
        self.task = asyncio.create_task(
            run_soc(
                data_dir, data_dir / "cordon.db", SETTINGS, self.meter, self._stop, self.ready.set,
                boot="soc-0-x", database=database,
            )
        )  # fmt: skip

    @property
    def standby(self) -> bool:
        return bool(self.meter.gauge("cordon_soc_standby").value)

    async def stop(self) -> None:
        self._stop.set()
        await self.task

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def until(condition: Callable[[], object], seconds: float = 10) -> float:
    """How many seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def refuse(client: LogClient, principal: str) -> None:
    now = time.time_ns() // 1_000_000
    for _ in range(5):
        await client.append(records.refused(now, principal))


def second_machine(data_dir: Path) -> Path:
    """A data directory of its own; its SOC process reaches the log through the same writer."""
    other = data_dir / "b"
    (other / "run").mkdir(parents=True, mode=0o700)
    (other / "keys").symlink_to(Paths(data_dir).keys)
    Paths(other).socket.symlink_to(Paths(data_dir).socket)
    return other


@asynccontextmanager
async def two(data_dir: Path, database: str, through: str = "") -> AsyncIterator[tuple[LogClient, Soc, Soc]]:
    """A log on PostgreSQL, the SOC process at work, and the one that stands by. `through`: how the first gets there."""
    async with running_writer(data_dir, QUICK, database=database):
        client = await connect(data_dir)
        first = Soc(data_dir, through or database)
        await first.ready.wait()
        second = Soc(second_machine(data_dir), database)
        await until(lambda: second.standby)
        try:
            yield client, first, second
        finally:
            for one in (first, second):
                with suppress(asyncio.CancelledError):
                    await one.stop()
            await client.close()


def contained(client: LogClient) -> list[str]:
    return sorted(held.target for held in client.control.containments.values())


def written(data_dir: Path, database: str, kind: str) -> list[dict[str, object]]:
    with open_reader(data_dir, database) as reader:
        facts = [orjson.loads(data) for _, data in reader.read(0, 10_000)]
    return [record for record in facts if record["kind"] == kind]


@pytest.mark.parametrize("ending", ["killed", "stopped"])
def test_a_standby_takes_over_and_each_alert_is_raised_once(
    postgres_server: Postgres, short_dir: Path, ending: str
) -> None:
    database = postgres_server.database()

    async def scenario() -> None:
        async with two(short_dir, database) as (client, first, second):
            assert second.ready.is_set() and not first.standby
            seen = await LogClient.connect(Paths(short_dir).socket, on_control=lambda _: None)
            await refuse(client, "acme/one")
            await until(lambda: contained(seen) == ["acme/one"])
            assert second.standby
            await (first.kill() if ending == "killed" else first.stop())
            assert await until(lambda: not second.standby) < TAKEOVER_SECONDS
            await refuse(client, "acme/two")
            await until(lambda: contained(seen) == ["acme/one", "acme/two"])
            await until(lambda: len(alerts()) == 2)
            await seen.close()

    state = open_state(short_dir / "none.db", database)

    def alerts() -> list[str]:
        return [row.subject for row in list_alerts(state)]

    asyncio.run(scenario())
    assert sorted(alerts()) == ["acme/one", "acme/two"]
    state.dispose()
    for kind in ("alert.raised", "containment.applied"):
        assert len(written(short_dir, database, kind)) == 2


def test_who_loses_the_session_stops_and_stands_by(postgres_server: Postgres, short_dir: Path) -> None:
    """As when an administrator ends it, or the network between this machine and the server is gone."""
    database = postgres_server.database()

    async def scenario() -> None:
        async with two(short_dir, database) as (client, first, second):
            with postgres_server.connect(database) as admin:
                ended = admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND classid::bigint = %s AND objid::bigint = %s",
                    (turn.LOCK >> 32, turn.LOCK & 0xFFFFFFFF),
                ).fetchall()
                assert ended == [(True,)]
                query = "SELECT term FROM cordon_state.soc_term"
                await until(lambda: admin.execute(query).fetchone() == (2,), TAKEOVER_SECONDS)
            await until(lambda: first.standby != second.standby, TAKEOVER_SECONDS)
            await refuse(client, "acme/one")
            await until(lambda: written(short_dir, database, "containment.applied"))

    asyncio.run(scenario())
    assert len(written(short_dir, database, "alert.raised")) == 1


def test_a_machine_cut_off_from_the_server_is_replaced_in_time(postgres_server: Postgres, short_dir: Path) -> None:
    database = postgres_server.database()

    async def scenario() -> None:
        with relay(postgres_server.port) as path:
            through = postgres_server.through(database, path.port)
            async with two(short_dir, database, through) as (client, first, second):
                path.close()
                assert await until(lambda: not second.standby) < TAKEOVER_SECONDS
                await until(lambda: first.standby, TAKEOVER_SECONDS)
                await refuse(client, "acme/one")
                await until(lambda: written(short_dir, database, "containment.applied"))
                assert not first.task.done(), "it goes on waiting for its server"

    asyncio.run(scenario())


def test_a_turn_that_is_over_stores_nothing(postgres_server: Postgres, tmp_path: Path) -> None:
    """A process that was asleep while another took over wakes up and stores its place."""
    database = postgres_server.database()
    state = open_state(tmp_path / "none.db", database)
    log = StoreLog(tmp_path / "log.db")

    async def scenario() -> None:
        stop = asyncio.Event()
        old = await take_turn(database, Meter("soc-0"), stop, lambda: None)
        assert old is not None
        follower = Follower(
            log.store, state, Outbox(log, "x", Meter("x")), [], SETTINGS, asyncio.Event(), Meter("x"), old.check
        )
        follower._commit([{"name": "d", "version": 1, "next_index": 7, "snapshot": b"{}"}], [])
        old.close()
        new = await take_turn(database, Meter("soc-1"), stop, lambda: None)
        assert new is not None and new.term == old.term + 1
        with pytest.raises(LostTurn):
            follower._commit([{"name": "d", "version": 1, "next_index": 3, "snapshot": b"{}"}], [])
        new.close()

    asyncio.run(scenario())
    with state.connect() as connection:
        assert [row.next_index for row in connection.execute(places.select())] == [7]
    state.dispose()


def test_a_server_that_went_and_came_back_is_worked_with_again(short_dir: Path) -> None:
    with postgres() as server:
        database = server.database()

        async def scenario() -> None:
            async with two(short_dir, database) as (_, first, second):
                await asyncio.to_thread(server.kill)
                await until(lambda: first.standby and second.standby)
                await asyncio.to_thread(server.start)
                await until(lambda: first.standby != second.standby)
                assert not first.task.done() and not second.task.done()

        asyncio.run(scenario())
