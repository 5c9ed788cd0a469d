"""One process of Cordon as its supervisor sees it: started, watched by its beats, stopped, started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from cordon.channel import DESCRIPTOR, Channel
from cordon.parts import Role
from lineage.metrics import Tally

log = structlog.get_logger("supervisor")

PAUSES: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before the first, second, … restart of a process that keeps dying; the last one stays."""
PROVEN_SECONDS: Final = 2.0
"""A process that worked this long is restarted at once again."""
START_SECONDS: Final = 60.0
"""Until the first beat: the interpreter's start and imports on a busy machine."""


class Backoff:
    """How long to wait before the next restart."""

    def __init__(self) -> None:
        self._deaths = 0

    def pause(self, lived: float) -> float:
        """Seconds to wait after a life that worked for `lived` seconds."""
        if lived >= PROVEN_SECONDS:
            self._deaths = 0
        pause = PAUSES[min(self._deaths, len(PAUSES) - 1)]
        self._deaths += 1
        return pause


Command = Callable[[str, int], Sequence[str]]


def own_command(role: str, slot: int) -> Sequence[str]:
    """How a process of Cordon is started: this interpreter, cordon/process.py, nothing from the working directory."""
    return (sys.executable, "-P", "-m", "cordon.process", role, "--slot", str(slot), "--parent", str(os.getpid()))


def _environment() -> dict[str, str]:
    """This process's own, in which another one finds the same code, installed or not."""
    root = Path(__file__).parents[1]
    if root.name == "site-packages":
        return dict(os.environ)
    path = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(path)}


class Child:
    """One slot of a role, over all the lives of its process."""

    def __init__(
        self, role: Role, slot: int, config: bytes, command: Command = own_command, restarts: Tally | None = None
    ) -> None:
        self.role = role
        self.slot = slot
        self.pid: int | None = None
        self.lives = 0
        self.facts: Mapping[str, Any] = {}
        self.ready = asyncio.Event()
        self._begun = asyncio.Event()
        self.failure = ""
        self._config = config
        self._command = command
        self._restarts = restarts or Tally()
        self._channel: Channel | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._deadline = 0.0
        self._worked_since = 0.0
        self._stop = asyncio.Event()
        self._killed = False
        self._first: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Such as gateway-0."""
        return f"{self.role.name}-{self.slot}"

    def start(self) -> None:
        """Keep a process alive from now on."""
        self._task = asyncio.create_task(self._keep(), name=self.name)

    async def started(self) -> str:
        """Wait until the process works for the first time ('') or has failed to (why, for people)."""
        return await asyncio.shield(self._first)

    def configure(self, config: bytes) -> None:
        """Hand over a new configuration (JSON text), now and to all later lives."""
        self._config = config
        if self._channel is not None:
            self._channel.send(config=orjson.Fragment(config))

    def signal(self, number: int) -> None:
        """Send the process a signal, if there is one."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def renew(self, patience: float) -> bool:
        """Let the process finish its work and begin a new life; whether the new one works in time.

        False at once where it is stopped for good meanwhile.
        """
        back = asyncio.create_task(self._back(self.lives))
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait(
                (back, *filter(None, [self._task])), timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            return back.done()
        finally:
            back.cancel()

    async def _back(self, life: int) -> None:
        """Return when a life after this one works."""
        while self.lives == life:
            self._begun.clear()
            await self._begun.wait()
        await self.ready.wait()

    def kill(self) -> None:
        """End the process at once, for good."""
        self._killed = True
        self._stop.set()
        self.signal(signal.SIGKILL)

    async def stop(self, patience: float) -> bool:
        """Ask the process to finish, kill it after `patience` seconds; whether it went by itself."""
        self._stop.set()
        self.signal(signal.SIGTERM)
        if self._task is None:
            return True
        done, _ = await asyncio.wait((self._task,), timeout=patience)
        if not done:
            log.warning("killed: it did not finish in time", process=self.name, seconds=patience)
            self.kill()
            await asyncio.wait((self._task,), timeout=5)
        return not self._killed

    async def _keep(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            self._worked_since = 0.0
            try:
                code = await self._live()
            except OSError as error:  # no process, descriptor or memory is left for it now
                code, self.failure = -1, f"it cannot be started: {error.strerror}"
                self._settle(self.failure)
            if self._stop.is_set():
                return
            self._restarts.inc()
            pause = backoff.pause(time.monotonic() - self._worked_since if self._worked_since else 0.0)
            level = log.info if code == 0 else log.warning
            level("ended, is started again", process=self.name, code=code, why=self.failure, pause=pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    async def _live(self) -> int:
        """One life: from the start of the process to its end; the exit code, negative for a signal."""
        self.ready.clear()
        self.failure = ""
        ours, theirs = socket.socketpair()
        environment = _environment() | {DESCRIPTOR: str(theirs.fileno())}
        with theirs, contextlib.ExitStack() as unused:
            unused.callback(ours.close)
            # A session of its own: Ctrl-C reaches the supervisor alone, which then stops the others in order.
            self._process = await asyncio.create_subprocess_exec(
                *self._command(self.role.name, self.slot),
                env=environment,
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
            unused.pop_all()
        self.pid = self._process.pid
        self.lives += 1
        self._begun.set()
        self._deadline = time.monotonic() + START_SECONDS
        self._channel = await Channel.over(ours)
        self._channel.send(config=orjson.Fragment(self._config))
        if self._stop.is_set():
            self.signal(signal.SIGTERM)
        reader = asyncio.create_task(self._listen(self._channel))
        watch = asyncio.create_task(self._watch())
        try:
            code = await self._process.wait()
            await asyncio.wait((reader,), timeout=1)
        finally:
            for task in (reader, watch):
                task.cancel()
            self._channel.close()
            self._channel = None
            self.pid = None
            self.ready.clear()
            self._settle(self.failure or "it ended before it worked; its last lines above say why")
        return code

    async def _listen(self, channel: Channel) -> None:
        async for message in channel.messages():
            silent = time.monotonic() + self.role.silence
            # Until it works it imports, which holds its event loop up for long on a busy machine.
            self._deadline = silent if self.ready.is_set() or "ready" in message else max(self._deadline, silent)
            if "ready" in message:
                self.facts = message["ready"]
                self.ready.set()
                self._worked_since = time.monotonic()
                self._settle("")
            elif "failed" in message:
                self.failure = str(message["failed"])

    def _settle(self, failure: str) -> None:
        """Remember how the first life began."""
        if not self._first.done():
            self._first.set_result(failure)

    async def _watch(self) -> None:
        """Kill the process when its event loop is stuck, as in a policy that does not come to an end."""
        while True:
            await asyncio.sleep(0.25)
            if time.monotonic() > self._deadline:
                self.failure = "its event loop was stuck"
                log.error("killed: " + self.failure, process=self.name)
                self.signal(signal.SIGKILL)
                return
