"""The roles that a process can play, each wired from the configuration: the only place where parts are put together.

Every role counts in a meter of its own, writes its snapshots, and records the beginning and the end of its life.
Modules of a role are imported when it is played, so that the log writer is back quickly after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog

from cordon.life import Life
from lineage.client import LogClient
from lineage.control import ControlState
from lineage.errors import LineageError
from lineage.metrics import Meter, keep_snapshots
from lineage.paths import Paths
from lineage.record import encode

if TYPE_CHECKING:
    from sqlalchemy import Engine

log = structlog.get_logger("process")


async def play_writer(life: Life) -> None:
    """The one process of this node that appends to the log; it, or that of another node, signs the checkpoints."""
    from lineage.writer import run_writer

    paths = Paths(life.config.data_dir)
    stop = asyncio.Event()
    begun = asyncio.Event()
    async with _measured(life) as meter:
        writer = asyncio.create_task(
            run_writer(paths.data_dir, life.config.lineage, meter, stop, begun.set, life.config.database, life.boot)
        )
        beginning, stopping = asyncio.create_task(begun.wait()), asyncio.create_task(life.stop.wait())
        await asyncio.wait((writer, beginning, stopping), return_when=asyncio.FIRST_COMPLETED)
        if begun.is_set():
            client = await LogClient.connect(paths.socket)
            async with _recorded(life, client):
                await _catch_up(life, client)
                life.ready()
                await asyncio.wait((writer, stopping), return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await writer


async def play_gateway(life: Life) -> None:
    """One worker of the data plane."""
    from cordon.addresses import error_pages
    from cordon.config import Config
    from gateway.worker import Configuration, Worker

    def parts(config: Config) -> Configuration:
        return Configuration(
            config.gateway,
            config.tenants,
            config.routes,
            config.policy,
            config.lineage.policy_inputs,
            error_pages(config),
            config.database,
        )

    paths = Paths(life.config.data_dir)
    async with _measured(life) as meter:
        worker = Worker(life.boot, paths.data_dir, parts(life.config), meter)
        life.on_config = lambda config: worker.reconfigure(parts(config))
        async with _connected(life, worker.control_changed) as client:
            await worker.run(client, life.stop, lambda port: life.ready(port=port))


async def play_soc(life: Life) -> None:
    """Detectors, the containment that follows from their alerts, and the delivery of decision logs."""
    from playbooks.soc import Guard, run_soc

    config = life.config
    async with _measured(life) as meter, _connected(life):

        async def deliver(log: LogClient, state: Engine, guard: Guard) -> None:
            from siem.decision_logs.running import deliver_all

            await deliver_all(
                config.decision_logs,
                config.data_dir,
                config.database,
                config.policy,
                log,
                state,
                guard,
                life.boot,
                meter,
                life.stop,
            )

        await run_soc(
            config.data_dir,
            config.state_path,
            config.detection,
            meter,
            life.stop,
            life.ready,
            boot=life.boot,
            database=config.database,
            companions=(deliver,) if config.decision_logs else (),
        )


async def play_control(life: Life) -> None:
    """The console, the admin API, and the log's read API."""
    from cordon.bundles import read_bundle
    from siem.console.deps import Facts
    from siem.console.server import run_control

    config = life.config
    facts = Facts(
        tenants=tuple(tenant.id for tenant in config.tenants),
        routes={route.id: tuple(endpoint.id for endpoint in route.endpoints) for route in config.routes},
        configured=lambda: read_bundle(config.policy),
        policy=config.policy,
        decision_logs=config.decision_logs,
    )
    async with _measured(life) as meter, _connected(life) as client:
        await run_control(
            config.control,
            config.data_dir,
            config.state_path,
            client,
            life.boot,
            facts,
            meter,
            life.stop,
            lambda port: life.ready(port=port),
            config.database,
        )


async def play_stand_in(life: Life) -> None:
    """The upstream with canned answers, for trying Cordon out."""
    from cordon.standin import run_standin

    settings = life.config.stand_in
    assert settings is not None
    host, _, port = settings.listen.rpartition(":")
    async with _measured(life), _connected(life):
        await run_standin(host.strip("[]"), int(port), life.stop, lambda bound: life.ready(port=bound))


ROLES: Final[Mapping[str, Callable[[Life], Awaitable[None]]]] = {
    "writer": play_writer,
    "gateway": play_gateway,
    "soc": play_soc,
    "control": play_control,
    "stand-in": play_stand_in,
}


@asynccontextmanager
async def _measured(life: Life) -> AsyncIterator[Meter]:
    """The process's meter, whose snapshot is written every second and once more at the end."""
    meter = Meter(life.process)
    directory = Paths(life.config.data_dir).metrics
    keeping = asyncio.create_task(keep_snapshots(meter, directory))
    try:
        yield meter
    finally:
        keeping.cancel()
        with suppress(OSError):
            meter.write(directory)


@asynccontextmanager
async def _connected(life: Life, on_control: Callable[[ControlState], None] | None = None) -> AsyncIterator[LogClient]:
    """A connection to the log writer, over which this life's beginning and end are recorded."""
    client = await LogClient.connect(Paths(life.config.data_dir).socket, on_control=on_control)
    try:
        async with _recorded(life, client):
            yield client
    finally:
        await client.close()


@asynccontextmanager
async def _recorded(life: Life, client: LogClient) -> AsyncIterator[None]:
    await client.append(
        encode(_head(life, "process.started") | {"role": life.role, "slot": life.slot, "node": life.node})
    )
    try:
        yield
    finally:
        try:
            await client.append(encode(_head(life, "process.stopped")))
        except LineageError as error:
            log.warning("the end of this process could not be recorded", problem=str(error))


async def _catch_up(life: Life, client: LogClient) -> None:
    """Erase again the tenants that a restored backup brought back, before anything is served."""
    from lineage.actions import Stamp
    from lineage.erasure import catch_up
    from lineage.reader import open_reader
    from lineage.side_place import SidePlace

    data_dir = life.config.data_dir

    def work() -> list[dict[str, object]]:
        with open_reader(data_dir, life.config.database) as reader:
            state = reader.control()
        return catch_up(
            data_dir, state, SidePlace(data_dir, life.config.database).side, Stamp.now(life.boot), "process:writer"
        )

    for record in await asyncio.to_thread(work):
        log.warning("a tenant that was erased is erased again: its record was missing", tenant=record["tenant"])
        await client.append(encode(record))


def _head(life: Life, kind: str) -> dict[str, object]:
    from lineage.actions import Stamp

    return Stamp.now(life.boot).head(kind)
