"""Keeps a worker's engine, the bundle's source and the OPA server in step.

A look every `reload_seconds`, or at once where a decision found the server without the bundle: is there another
bundle, and does the server answer, with the bundle that is meant? What is missing there is pushed again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from lineage.metrics import Meter
from policies.bundle import Bundle
from policies.engine import PolicyEngine
from policies.errors import BundleError, Problem
from policies.opa.engine import Link, OpaEngine
from policies.opa.push import Pusher
from policies.opa.server import Server
from policies.opa.wire import Decided, ServerError, Transport, read_about, read_plain, rule_target
from policies.opa.wrapper import PACKAGE, Mark, mark_of
from policies.reloading import verdict_on
from policies.settings import Policy
from policies.source import LocalSource, Source
from policies.verdicts import Verdicts

_LOOK_SECONDS: Final = 2.0
_UNKNOWN: Final = Mark("", "")


class OpaSource:
    """Holds the engine in force in `engine`, as `policies.reloading.Reloader` does.

    `on_server` is told once each time that the server is lost (the reason and a text) or back ("" and "").
    """

    engine: OpaEngine

    def __init__(
        self,
        settings: Policy,
        run_dir: Path,
        transport: Transport,
        meter: Meter,
        *,
        on_loaded: Callable[[PolicyEngine], None],
        on_rejected: Callable[[Sequence[Problem]], None],
        on_server: Callable[[str, str], None],
        source: Source | None = None,
    ) -> None:
        self._settings = settings
        self._source = (source or LocalSource(settings)) if settings.push else None
        self._verdicts = Verdicts(run_dir / "admitted")
        self._link = Link(settings, transport, meter)
        self._link.stale = self._wake
        self._pusher = Pusher(settings, Server(transport))
        self._on_loaded = on_loaded
        self._on_rejected = on_rejected
        self._on_server = on_server
        self._up = meter.gauge("cordon_policy_server_up")
        self._pushes = {
            how: meter.counter("cordon_policy_server_pushes_total", how) for how in ("done", "refused", "failed")
        }
        self._woken = asyncio.Event()
        self._seen: object = None
        self._bundle: Bundle | None = None
        self._lost: str | None = None
        self._told: tuple[Problem, ...] = ()
        self._loaded = ""
        self.engine = OpaEngine(self._link, _UNKNOWN)

    async def start(self) -> None:
        """Take up the first bundle; BundleError where it is refused and the server has none of before.

        A server that does not answer yet is waited for while calls are refused.
        """
        if self._source is None:
            await self._attempt(self._probe())
            return
        await self._source.open()
        self._seen = await self._source.look()
        try:
            bundle = await self._source.load()
        except BundleError as error:
            await self._attempt(self._adopt(error))
            self._reject(error.problems)
        else:
            await self._attempt(self._take_up(bundle))

    async def run(self) -> None:
        """Look at bundle and server until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._source is not None:
                group.create_task(self._source.run())
            group.create_task(self._watch())

    async def _watch(self) -> None:
        before = self._seen
        while True:
            await self._pause()
            if self._source is not None:
                now = await self._source.look()
                if now != self._seen and now == before:
                    self._seen = now
                    await self._reload(self._source)
                before = now
            try:
                await self._attempt(self._probe())
            except BundleError as error:
                self._reject(error.problems)

    def close(self) -> None:
        """Nothing is held open; the transport is its maker's, and the caller cancels `run`."""

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._settings.reload_seconds):
                await self._woken.wait()
                await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        self._woken.clear()

    def _wake(self) -> None:
        self._woken.set()

    async def _reload(self, source: Source) -> None:
        try:
            bundle = await source.load()
        except BundleError as error:
            self._reject(error.problems)
            return
        await self._attempt(self._take_up(bundle))

    async def _attempt(self, work: Awaitable[None]) -> None:
        """Do something with the server, and tell when it is lost or back."""
        try:
            await work
        except ServerError as error:
            self._tell(error)
        else:
            self._tell(None)

    async def _probe(self) -> None:
        """Ask the server what it holds, and put the two in step again."""
        found = await self._look()
        if self._source is None:
            self._load(found.revision)
        elif not found.mark:
            if self._bundle is not None:
                await self._take_up(self._bundle, restore=True)
        elif self._link.current is None or found.mark != self._link.current.mark:
            await self._follow(found, self._source)

    async def _follow(self, found: Decided, source: Source) -> None:
        """The server has another bundle: of another worker, which saw the change first, or of a stranger."""
        try:
            bundle = await source.load(fresh=True)
        except BundleError:
            bundle = None
        if bundle is not None and (mark_of(bundle, self._settings) == found.mark or self._link.current is None):
            await self._take_up(bundle)
            return
        text = "the OPA server holds another bundle than this Cordon; give each bundle a server of its own"
        raise ServerError("revision", text)

    async def _look(self) -> Decided:
        """What the server holds; a request to a path that has no rules costs it nothing."""
        try:
            async with asyncio.timeout(max(_LOOK_SECONDS, self._settings.deadline_ms / 1000)):
                if not self._settings.push:
                    return await self._link.ask(
                        rule_target(f"data.{PACKAGE}.none", "provenance=true"), b"{}", read_plain
                    )
                return await self._link.ask(rule_target(f"data.{PACKAGE}.about", ""), b"{}", read_about)
        except TimeoutError:
            raise ServerError("timeout", f"the OPA server did not answer within {_LOOK_SECONDS:g} s") from None

    async def _take_up(self, bundle: Bundle, *, restore: bool = False) -> None:
        """Push a bundle and ask for it from now on; one that is refused leaves the one before in force."""
        self._bundle = self._bundle or bundle
        # Admission is the embedded engine's, asked what the rules read: a bundle that it refuses may read all.
        verdict = await asyncio.to_thread(verdict_on, bundle, self._settings, self._verdicts)
        try:
            if not await self._pusher.push(bundle, restore=restore):
                self._wake()
                return
        except BundleError as error:
            self._pushes["refused"].inc()
            if self._link.current is None:
                self._bundle = None
                await self._adopt(error)
            self._reject(error.problems)
            return
        except ServerError:
            self._pushes["failed"].inc()
            if self._link.current is not None and not restore:
                self._seen = None  # to be tried again
            raise
        self._pushes["done"].inc()
        if verdict.bundle is not None:
            await asyncio.to_thread(self._verdicts.write_last, self._settings, verdict)
        self._bundle = bundle
        self._told = ()
        settings, reads = self._settings, verdict.reads
        self._put_in_force(
            Mark(
                mark_of(bundle, settings),
                bundle.revision,
                reads.get(settings.request_rule),
                reads.get(settings.response_rule),
                bundle.tokenises,
            )
        )

    async def _adopt(self, error: BundleError) -> None:
        """Go on with the bundle that the server has from before; raises `error` where it has none."""
        found = await self._look()
        if not found.mark or not await self._was_verified(found.mark):
            raise error
        self._put_in_force(Mark(found.mark, found.revision))

    async def _was_verified(self, mark: str) -> bool:
        """Whether the bundle with this mark was taken up under the same key, where one is asked for."""
        if self._settings.verification is None:
            return True
        last = await asyncio.to_thread(self._verdicts.read_last, self._settings)
        return last is not None and last.bundle is not None and mark_of(last.bundle, self._settings) == mark

    def _put_in_force(self, mark: Mark) -> None:
        if mark != self._link.current:
            self._link.current = mark
            self.engine = OpaEngine(self._link, mark)
        self._link.changed.set()
        self._load(mark.revision)

    def _load(self, revision: str) -> None:
        if revision != self._loaded:
            self._loaded = revision
            self.engine.revision = revision
            self._on_loaded(self.engine)

    def _reject(self, problems: tuple[Problem, ...]) -> None:
        if problems != self._told:
            self._told = problems
            self._on_rejected(problems)

    def _tell(self, error: ServerError | None) -> None:
        """A server is lost or back; the same is told once."""
        self._up.set(0 if error else 1)
        if error is not None:
            self._link.count(error)
        reason = error.reason if error else ""
        if reason != self._lost and (reason or self._lost):
            self._on_server(reason, str(error) if error else "")
        self._lost = reason
