"""Keeps the bundle in force up to date: looks for changes, and takes up only what admission lets through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from lineage.metrics import Meter
from policies.admission import Admission, admit_now
from policies.bundle import Bundle
from policies.embedded import EmbeddedEngine
from policies.engine import PolicyEngine
from policies.errors import BundleError, Problem
from policies.settings import Policy
from policies.source import LocalSource, Source
from policies.verdicts import Verdicts


class Reloader:
    """Holds the engine of the bundle in force in `engine`; a bundle that is refused leaves the one before.

    All of it belongs to one event loop: the engine is made, used and replaced there, between two calls. Reading and
    examining happen elsewhere. `on_loaded` gets the engine, `on_rejected` the problems, once for each change.
    """

    engine: EmbeddedEngine

    def __init__(
        self,
        settings: Policy,
        run_dir: Path,
        *,
        on_loaded: Callable[[PolicyEngine], None],
        on_rejected: Callable[[Sequence[Problem]], None],
        source: Source | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._settings = settings
        self._source = source or LocalSource(settings)
        self._verdicts = Verdicts(run_dir / "admitted")
        self._on_loaded = on_loaded
        self._on_rejected = on_rejected
        self._meter = meter
        self._seen: object = None
        self._told: tuple[Problem, ...] = ()

    async def start(self) -> None:
        """Load the first bundle; BundleError where it is refused.

        Started again under the same supervisor, it goes on with the bundle that was in force before.
        """
        await self._source.open()
        self._seen = await self._source.look()
        try:
            verdict = await self._examine()
        except BundleError as error:
            last = await asyncio.to_thread(self._verdicts.read_last, self._settings)
            if last is None:
                raise
            self._take_up(last)
            self._tell(error.problems)
        else:
            self._take_up(verdict)

    async def run(self) -> None:
        """Look for changes until cancelled. A change is examined once it has stayed the same for one look."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._source.run())
            group.create_task(self._watch())

    async def _watch(self) -> None:
        before = self._seen
        while True:
            await asyncio.sleep(self._settings.reload_seconds)
            now = await self._source.look()
            if now != self._seen and now == before:
                self._seen = now
                await self._reload()
            before = now

    async def _reload(self) -> None:
        try:
            self._take_up(await self._examine())
        except BundleError as error:
            self._tell(error.problems)
        except OSError as error:
            self._seen = None
            message = f"the bundle could not be examined ({error.strerror}); this is tried again"
            self._tell((Problem(".", 0, 0, "machine", message),))

    def _tell(self, problems: tuple[Problem, ...]) -> None:
        if problems != self._told:
            self._told = problems
            self._on_rejected(problems)

    async def _examine(self) -> Admission:
        """The verdict on the bundle as it is now; BundleError when it is refused."""
        bundle = await self._source.load()
        verdict = await asyncio.to_thread(examine, bundle, self._settings, self._verdicts)
        await asyncio.to_thread(self._verdicts.write_last, self._settings, verdict)
        return verdict

    def _take_up(self, verdict: Admission) -> None:
        """Replace the engine, unless the content is the same as before."""
        assert verdict.bundle is not None
        self._told = ()
        before = getattr(self, "engine", None)
        if before is None or before.revision != verdict.bundle.revision:
            self.engine = EmbeddedEngine(verdict.bundle, self._settings, verdict.reads, verdict.uncached, self._meter)
            if before is not None:
                before.close()
            self._on_loaded(self.engine)

    def close(self) -> None:
        """Let go of the engine, in the thread that it belongs to; the caller cancels `run`."""
        self.__dict__.pop("engine", None)


def examine(bundle: Bundle, settings: Policy, verdicts: Verdicts) -> Admission:
    """The verdict on a bundle that may be served; BundleError when it is refused. It may take seconds."""
    verdict = verdict_on(bundle, settings, verdicts)
    if verdict.bundle is None:
        raise BundleError(verdict.errors)
    return verdict


def verdict_on(bundle: Bundle, settings: Policy, verdicts: Verdicts) -> Admission:
    """The verdict on a bundle, whatever it is: remembered, or given anew and remembered. It may take seconds."""
    verdict = verdicts.read(bundle, settings)
    if verdict is None:
        verdict = admit_now(bundle, settings)
        if verdict.bundle is not None:
            verdicts.write(bundle, settings, verdict)
    return verdict
