"""Keeps the processes of one Cordon alive: starts them in order, restarts what dies, reloads, drains.

    start     log writer → gateway workers, SOC process, control server, stand-in
    reload    SIGHUP or a changed file; a file that is refused changes nothing, and an alert says so
    stop      SIGTERM or Ctrl-C: workers finish their calls, then the others, the log writer last; twice: at once

What a change means for the processes is in `changes`; which processes there are, in `parts`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

from cordon.changes import Changes, refuse_fixed, watched
from cordon.child import START_SECONDS, Child, Command, own_command
from cordon.config import Config, load
from cordon.errors import ConfigError, SupervisorError
from cordon.parts import CONTROL, EVERYTHING, GATEWAY, SOC, STAND_IN, WRITER, Role
from lineage.metrics import Meter, keep_snapshots
from lineage.paths import Paths, make_private

log = structlog.get_logger("supervisor")

WATCH_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 5.0
"""On top of the time that calls in flight are given."""
RELIEF_SLOT: Final = 999
"""Slot of the worker that takes the calls while the only one is renewed."""


class Supervisor:
    """`roles` are the parts that run here. `report` is told of a refused configuration, `taken_up` of any other."""

    def __init__(
        self,
        config: Config,
        file: Path,
        *,
        roles: frozenset[Role] = EVERYTHING,
        command: Command = own_command,
        report: Callable[[Config, str], Awaitable[None]] | None = None,
        taken_up: Callable[[Config], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.children: list[Child] = []
        self._file = file
        self._roles = roles
        self._command = command
        self._report = report
        self.meter = Meter("supervisor")
        self._changes = Changes(config)
        # As they are before any process reads them: what changes during the start is seen once it is over.
        self._files = watched(file, config)
        self._taken_up = taken_up
        self._stop = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None
        self._reload = asyncio.Event()

    async def run(self, started: Callable[[Supervisor], None] = lambda _: None) -> bool:
        """Run until told to stop; whether everything finished by itself. `started` is called once all of it works.

        Raises SupervisorError when a part cannot start; then everything has been stopped again.
        """
        with self._alone(), self._signals():
            measuring = asyncio.create_task(keep_snapshots(self.meter, Paths(self.config.data_dir).metrics))
            try:
                await self._start()
                if not self._stop.is_set():
                    started(self)
                    await self._serve()
            finally:
                clean = await asyncio.shield(self._drain())
                measuring.cancel()
            return clean

    def child(self, name: str) -> Child:
        """The process of this name, such as gateway-0."""
        return next(child for child in self.children if child.name == name)

    def runs(self, name: str) -> bool:
        """Whether a process of this name is kept here."""
        return any(child.name == name for child in self.children)

    def stop(self) -> None:
        """Begin to drain, as SIGTERM does; the second time kills."""
        if self._stop.is_set():
            log.warning("told twice to stop: killing what is left")
            for child in self.children:
                child.kill()
        self._stop.set()

    def reload(self) -> None:
        """Read the configuration again, as SIGHUP does."""
        self._reload.set()

    async def _start(self) -> None:
        for wave in self._waves():
            for child in wave:
                self.children.append(child)
                child.start()
            for child in wave:
                stopped = asyncio.create_task(self._stop.wait())
                begun = asyncio.create_task(child.started())
                await asyncio.wait((stopped, begun), return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                if not begun.done():
                    begun.cancel()
                    return
                if begun.result():
                    raise SupervisorError(f"{child.name} did not start: {begun.result()}")

    def _waves(self) -> Iterator[list[Child]]:
        config = self.config.model_dump_json().encode()
        counts = {
            WRITER: 1,
            GATEWAY: self.config.gateway.workers,
            SOC: 1,
            CONTROL: 1,
            STAND_IN: int(self.config.stand_in is not None),
        }
        for wave in ((WRITER,), (STAND_IN, GATEWAY, SOC, CONTROL)):
            yield [
                self._child(role, slot, config) for role in wave if role in self._roles for slot in range(counts[role])
            ]

    def _child(self, role: Role, slot: int, config: bytes) -> Child:
        return Child(role, slot, config, self._command, self.meter.counter("cordon_process_restarts_total", role.name))

    async def _serve(self) -> None:
        seen = last = self._files
        while not self._stop.is_set():
            stop, reload = asyncio.create_task(self._stop.wait()), asyncio.create_task(self._reload.wait())
            await asyncio.wait((stop, reload), timeout=WATCH_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            reload.cancel()
            settled, last = last, watched(self._file, self.config)
            # Two looks at the same files: a program that is still writing them is given the time to finish.
            if self._reload.is_set() or (last != seen and last == settled):
                self._reload.clear()
                await self._take_up()
                # As they were before they were read: what changes meanwhile is a change to be seen.
                now = watched(self._file, self.config)
                seen = last = {path: last.get(path, status) for path, status in now.items()}

    async def _take_up(self) -> None:
        try:
            config = load(self._file)
            refuse_fixed(self._file, self.config, config)
        except ConfigError as error:
            log.error("the changed configuration is refused, the one before stays", problems=str(error))
            if self._report is not None:
                with contextlib.suppress(Exception):
                    await self._report(self.config, str(error.problems[0].at(self._file.name)))
            return
        self.config = config
        renewed = self._changes.renewed(config)
        self._taken_up(config)
        self._grow()
        text = config.model_dump_json().encode()
        for child in self.children:
            child.configure(text)
        self._renewing = asyncio.create_task(
            self._renew([child for child in self._kept() if child.role in renewed], self._renewing)
        )
        log.info("the changed configuration is in force", renewed=sorted(role.name for role in renewed))

    async def _renew(self, children: list[Child], before: asyncio.Task[None] | None) -> None:
        """Give these processes a new life, one after the other, so that the other workers go on meanwhile."""
        if before is not None:
            await before
        for child in children:
            if child not in self._kept():
                continue  # taken away by a later change
            alone = child.role == GATEWAY and [each.role for each in self._kept()].count(GATEWAY) == 1
            relief = await self._relieve() if alone else None
            if not await child.renew(self._patience() + START_SECONDS):
                log.warning("a process did not come back in time after a change", process=child.name)
            if relief is not None:
                await relief.stop(self._patience())
                self.children.remove(relief)
        await self._shrink()

    async def _relieve(self) -> Child:
        """One more worker, which takes the calls by the new configuration before the only other one stops to."""
        relief = self._child(GATEWAY, RELIEF_SLOT, self.config.model_dump_json().encode())
        self.children.append(relief)
        relief.start()
        failure = await relief.started()
        if failure:
            log.warning("no other worker can take the calls meanwhile", why=failure)
        return relief

    def _grow(self) -> None:
        """Start what the configuration has more of: workers, the stand-in."""
        text = self.config.model_dump_json().encode()
        for role, count in self._sizes():
            present = [child for child in self._kept() if child.role == role]
            for slot in range(len(present), count):
                child = self._child(role, slot, text)
                self.children.append(child)
                child.start()

    async def _shrink(self) -> None:
        """Stop what the configuration has less of; after a renewal, during which it still takes the calls."""
        for role, count in self._sizes():
            for child in [child for child in self._kept() if child.role == role][count:]:
                await child.stop(self._patience())
                self.children.remove(child)
        self._grow()  # where a later change asked for what was just being stopped

    def _sizes(self) -> list[tuple[Role, int]]:
        sizes = ((GATEWAY, self.config.gateway.workers), (STAND_IN, int(self.config.stand_in is not None)))
        return [(role, count) for role, count in sizes if role in self._roles]

    def _kept(self) -> list[Child]:
        """The processes that are here to stay: all but the relief, which whoever called it lets go."""
        return [child for child in self.children if child.slot != RELIEF_SLOT]

    async def _drain(self) -> bool:
        if self._renewing is not None:
            self._renewing.cancel()
        clean = True
        for phase in sorted({child.role.stop_phase for child in self.children}):
            going = [child for child in self.children if child.role.stop_phase == phase]
            clean &= all(await asyncio.gather(*(child.stop(self._patience()) for child in going)))
        return clean

    def _patience(self) -> float:
        return self.config.gateway.limits.drain_time + GRACE_SECONDS

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self.reload}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the locks of these roles in this data directory; a lock's file names the pid of its holder."""
        run = Paths(self.config.data_dir).run
        make_private(self.config.data_dir)
        make_private(run)
        with contextlib.ExitStack() as held:
            for role in self._roles:
                descriptor = os.open(supervisor_lock(run, role), os.O_CREAT | os.O_RDWR, 0o600)
                held.callback(os.close, descriptor)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    holder = os.pread(descriptor, 32, 0).decode().strip()
                    text = f"Cordon runs already in {self.config.data_dir} (process {holder}); stop it first"
                    raise SupervisorError(text) from None
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield


def supervisor_lock(run: Path, role: Role) -> Path:
    """The file that is locked while a supervisor keeps this role's processes."""
    return run / f"supervisor-{role.name}.lock"
