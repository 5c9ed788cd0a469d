"""A log to test against: a data directory with a short path, and a real writer in this event loop or in a process."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

from lineage.client import LogClient
from lineage.errors import LogUnavailable
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.settings import Lineage
from lineage.writer import run_writer

QUICK = Lineage(checkpoint_seconds=0.05)


MEMORY = Path("/dev/shm")


@contextmanager
def data_directory(memory: bool = False) -> Iterator[Path]:
    """A new directory whose path is short enough for a Unix socket in it, gone afterwards.

    With `memory` where the disk costs no time, if there is such a place: for tests of thousands of commits.
    """
    parent = MEMORY if memory and os.access(MEMORY, os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="cordon-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@asynccontextmanager
async def running_writer(
    data_dir: Path, settings: Lineage = QUICK, meter: Meter | None = None, database: str = ""
) -> AsyncIterator[None]:
    """The log writer as a task of this event loop; ended in good order afterwards."""
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(run_writer(data_dir, settings, meter or Meter("log"), stop, ready.set, database))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if not task.done():
            yield
    finally:
        stop.set()
        await task


def _serve(data_dir: Path, settings: Lineage, database: str) -> None:
    asyncio.run(run_writer(data_dir, settings, Meter("log"), asyncio.Event(), lambda: None, database))


def start_writer(data_dir: Path, settings: Lineage = QUICK, database: str = "") -> BaseProcess:
    """The log writer as a process of its own, for tests that kill it."""
    arguments = (data_dir, settings, database)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments, daemon=True)
    process.start()
    return process


async def connect(data_dir: Path, seconds: float = 10.0) -> LogClient:
    """A client, as soon as the writer takes connections."""
    async with asyncio.timeout(seconds):
        while True:
            with suppress(LogUnavailable):
                return await LogClient.connect(Paths(data_dir).socket)
            await asyncio.sleep(0.01)
