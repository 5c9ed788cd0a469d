"""One thread that does one job after another for an event loop, with less to pay a job than an executor."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable

Job = Callable[[], object]
Done = Callable[[object, BaseException | None], None]


class JobThread:
    """Does jobs in order; each one's result, or the exception that it raised, goes to `done` in the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._jobs: queue.SimpleQueue[tuple[Job, Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Job, done: Done) -> None:
        """Have a job done."""
        self._jobs.put((job, done))

    def close(self) -> None:
        """Do what is left and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, done = item
            try:
                result = job()
            except BaseException as error:
                self._loop.call_soon_threadsafe(done, None, error)
            else:
                self._loop.call_soon_threadsafe(done, result, None)
