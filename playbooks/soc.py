"""The SOC process' loop: detectors, the containment that follows from their alerts, and its end.

One process at a time works on a data directory. It is woken by the log writer's notices; from the commit of the record
that shows an abuse to the commit of the containment there are two commits and no waiting for a clock.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import Engine

from detectors.alerts import AlertTable
from detectors.catalogue import detectors
from detectors.follower import Follower
from detectors.outbox import Outbox
from detectors.settings import Detection
from lineage.client import LogClient
from lineage.errors import LogUnavailable
from lineage.metrics import Meter
from lineage.paths import Paths, make_private
from lineage.reader import LogReader, open_reader
from lineage.state import open_state
from playbooks.containment import Containing
from playbooks.errors import AlreadyRunning
from playbooks.expiry import expire

PATIENCE_SECONDS = 10.0
RETRY_SECONDS = 0.1


async def run_soc(
    data_dir: Path,
    state_path: Path,
    settings: Detection,
    meter: Meter,
    stop: asyncio.Event,
    ready: Callable[[], None],
    *,
    boot: str,
    database: str = "",
) -> None:
    """Follow the log in `data_dir` until `stop`; `ready` is called once all that was there has been seen.

    `state_path` is the state database, `boot` the life of this process, `database` the setting that says where the log
    lies. Raises AlreadyRunning when another SOC process holds the data directory for longer than ten seconds, and
    LogUnavailable when no log writer answers as long.
    """
    paths = Paths(data_dir)
    awake = asyncio.Event()
    async with _alone(paths), _opened(paths, database, state_path, awake) as (log, reader, state):
        consumers = (
            AlertTable(),
            *detectors(settings),
            Containing(settings.contain, lambda: log.control),
        )
        follower = Follower(reader, state, Outbox(log, boot, meter), consumers, settings, awake, meter)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follower.run(stop, ready))
            tasks.create_task(expire(log, lambda: log.control, boot, stop))


@asynccontextmanager
async def _opened(
    paths: Paths, database: str, state_path: Path, awake: asyncio.Event
) -> AsyncIterator[tuple[LogClient, LogReader, Engine]]:
    """The connection to the log writer, which sets `awake` as the log grows, the log to read, and the state."""
    log = await _connected(paths, awake)
    try:
        reader = open_reader(paths.data_dir, database)
        state = open_state(state_path)
        try:
            yield log, reader, state
        finally:
            reader.close()
            state.dispose()
    finally:
        await log.close()


async def _connected(paths: Paths, awake: asyncio.Event) -> LogClient:
    """The log writer may be starting still: try for some time, then let the last failure through."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            return await LogClient.connect(paths.socket, on_size=lambda _size: awake.set())
        except LogUnavailable:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(RETRY_SECONDS)


@asynccontextmanager
async def _alone(paths: Paths) -> AsyncIterator[None]:
    """Hold `run/soc.lock`; a predecessor that is still ending is waited for."""
    make_private(paths.run)
    path = paths.run / "soc.lock"
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        for _ in range(int(PATIENCE_SECONDS / RETRY_SECONDS)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(RETRY_SECONDS)
        else:
            raise AlreadyRunning(f"another SOC process holds {path}; stop it first")
        yield
    finally:
        os.close(lock)
