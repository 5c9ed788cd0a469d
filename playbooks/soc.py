"""The SOC process' loop: detectors, the containment that follows from their alerts, and its end.

One process at a time works on a data directory, and one of all machines that share a PostgreSQL database. It is woken
by the log writer's notices; from the commit of the record that shows an abuse to the commit of the containment there
are two commits and no waiting for a clock.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from sqlalchemy import Connection, Engine

from detectors.alerts import AlertTable
from detectors.catalogue import detectors
from detectors.follower import Follower
from detectors.outbox import Outbox
from detectors.settings import Detection
from lineage.client import LogClient
from lineage.errors import LogUnavailable
from lineage.metrics import Meter
from lineage.paths import Paths, make_private
from lineage.place import is_postgres
from lineage.reader import LogReader, open_reader
from lineage.state import open_state
from playbooks.containment import Containing
from playbooks.errors import AlreadyRunning
from playbooks.expiry import Watched, expire

Guard = Callable[[Connection], None]
Companion = Callable[[LogClient, Engine, Guard], Coroutine[None, None, None]]
"""Further work of this process, while it is its turn: with the log writer, the state, and what is called first in each
transaction on it. It ends on its own when the process is told to stop, and never by an error."""

PATIENCE_SECONDS = 10.0
RETRY_SECONDS = 0.1

_log = structlog.get_logger("cordon.soc")


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
    companions: Sequence[Companion] = (),
) -> None:
    """Follow the log in `data_dir` until `stop`; `ready` is called once all that was there has been seen.

    `state_path` is the state database's file, `boot` the life of this process, `database` the setting that says where
    the log and the state lie. While another machine's SOC process is at work on PostgreSQL, this one is its standby,
    and `ready` as such. Raises AlreadyRunning when another SOC process holds the data directory for longer than ten
    seconds, and LogUnavailable when no log writer answers as long.
    """
    paths = Paths(data_dir)
    awake, watched = asyncio.Event(), Watched()
    ready = _once(ready)
    async with _alone(paths), _opened(paths, database, state_path, awake, watched) as (log, reader, state):

        async def work(guard: Guard) -> None:
            consumers = (AlertTable(), *detectors(settings), Containing(settings.contain, lambda: log.control))
            outbox = Outbox(log, boot, meter)
            follower = Follower(reader, state, outbox, consumers, settings, awake, meter, guard)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(follower.run(stop, ready))
                tasks.create_task(expire(log, watched, boot, stop))
                for companion in companions:
                    tasks.create_task(companion(log, state, guard))

        if is_postgres(database):
            await _by_turns(work, database, meter, stop, ready)
        else:
            await work(lambda _connection: None)


async def _by_turns(
    work: Callable[[Guard], Awaitable[None]],
    database: str,
    meter: Meter,
    stop: asyncio.Event,
    ready: Callable[[], None],
) -> None:
    """Work while it is this machine's turn; stand by while it is another's. A standby is `ready`: it can take over."""
    from playbooks.turn import take_turn

    while turn := await take_turn(database, meter, stop, ready):
        working, keeping = asyncio.ensure_future(work(turn.check)), asyncio.create_task(turn.keep())
        try:
            await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
                return
            _log.warning("soc_turn_lost", problem=str(keeping.exception()))
        finally:
            for task in (working, keeping):
                task.cancel()
            await asyncio.gather(working, keeping, return_exceptions=True)
            turn.close()


def _once(ready: Callable[[], None]) -> Callable[[], None]:
    """The same, which does nothing when it is called again."""
    left = [ready]
    return lambda: left.pop()() if left else None


@asynccontextmanager
async def _opened(
    paths: Paths, database: str, state_path: Path, awake: asyncio.Event, watched: Watched
) -> AsyncIterator[tuple[LogClient, LogReader, Engine]]:
    """The connection to the log writer, the log to read, and the state.

    `awake` is set as the log grows, and `watched` told of containments as they come.
    """
    log = await _connected(paths, awake, watched)
    try:
        reader = open_reader(paths.data_dir, database)
        state = await asyncio.to_thread(open_state, state_path, database)
        try:
            yield log, reader, state
        finally:
            reader.close()
            state.dispose()
    finally:
        await log.close()


async def _connected(paths: Paths, awake: asyncio.Event, watched: Watched) -> LogClient:
    """The log writer may be starting still: try for some time, then let the last failure through."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            return await LogClient.connect(paths.socket, on_control=watched.take_up, on_size=lambda _size: awake.set())
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
