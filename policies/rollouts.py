"""Which bundle decides a call: the configured one, a roll-out in canary or live, and beside it the tenant's own.

Roll-outs are what the control state says (`lineage.control`); their bundles come from the bundle store, and pass
admission as the configured one does. The choice is made once for each call, and all of its moments keep to it.

    common   a canary that takes the call, else the live one, else the configured bundle
    own      a canary of the tenant's that takes the call, else the tenant's live one, else none

A roll-out that should decide and whose bundle cannot be had refuses the call: BundleUnavailable. One that is in
shadow is only left out. A live roll-out of the common bundle gives way to a configured bundle that was changed after
it, unless `policy.changes` is `rollout`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final, Protocol

import structlog

from lineage.control import ControlState
from lineage.errors import LineageError
from lineage.metrics import Meter
from lineage.rollouts import Rollout
from policies.admission import Admission
from policies.canary import decides, gives_way
from policies.combine import CombinedEngine
from policies.embedded import EmbeddedEngine
from policies.engine import PolicyEngine
from policies.errors import BundleError, BundleUnavailable, PolicyError, Problem
from policies.reloading import examine
from policies.settings import Policy
from policies.shadow.runner import Shadow
from policies.shadow.trial import Trial
from policies.stored import Fetch, stored_bundle
from policies.verdicts import Verdicts
from policies.watched import Mix, Reads, Watched

log = structlog.get_logger("gateway")

WAIT_SECONDS: Final = 5.0
"""How long a call waits for a bundle that is just being taken up."""
RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 10.0)
DECIDING: Final = ("canary", "live")
TAKEN_UP: Final = ("shadow", *DECIDING)
_MOST_MIXES: Final = 64


class Base(Protocol):
    """Where the configured bundle's engine comes from."""

    @property
    def engine(self) -> PolicyEngine:
        """The engine of the configured bundle that is in force."""
        ...


class Slot:
    """A roll-out and what this worker has of its bundle. `settled`: it is there, or could not be had at least once."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.verdict: Admission | None = None
        self.engine: EmbeddedEngine | None = None
        self.fault = ""
        self.settled = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.told = ""

    def drop(self) -> None:
        """Let go of everything."""
        if self.task is not None:
            self.task.cancel()
        self.verdict = None
        self.retire()
        self.settled.set()

    def retire(self) -> None:
        """Decide no more; calls that are under way are still decided."""
        if self.engine is not None:
            self.engine.close()
        self.engine = None


class Rollouts:
    """Follows the control state and chooses engines. All of it belongs to one event loop, as engines do.

    `on_loaded` gets the engine of each bundle that is taken up and its roll-out, `on_rejected` a roll-out whose bundle
    cannot be had, with the problems, once for each reason.
    """

    def __init__(
        self,
        base: Base,
        settings: Policy,
        run_dir: Path,
        fetch: Fetch,
        meter: Meter,
        *,
        on_loaded: Callable[[Rollout, Admission], None],
        on_rejected: Callable[[Rollout, Iterable[Problem]], None],
    ) -> None:
        self._base = base
        self._settings = settings
        self._verdicts = Verdicts(run_dir / "admitted")
        self._fetch = fetch
        self._meter = meter
        self._on_loaded = on_loaded
        self._on_rejected = on_rejected
        self.shadow = Shadow(settings, meter, self._broke_down)
        self._failures = meter.counter("cordon_policy_rollout_failures_total")
        self._missing = meter.gauge("cordon_policy_rollouts_missing")
        self._calls = {
            (scope, stage): meter.counter("cordon_policy_decided_calls_total", scope, stage)
            for scope, stage in (
                ("common", "configured"), ("common", "canary"), ("common", "live"), ("tenant", "canary"),
                ("tenant", "live"),
            )
        }  # fmt: skip
        self._followed: dict[str, Rollout] = {}
        self._slots: dict[str, Slot] = {}
        self._at: dict[tuple[str, str], Slot] = {}
        self._mixes: dict[tuple[object, ...], PolicyEngine | Mix] = {}
        self._mixed_with = ""

    async def settled(self, stages: Collection[str] = DECIDING) -> None:
        """Return when each bundle that is in one of these stages is there or could not be had."""
        for slot in list(self._slots.values()):
            if slot.rollout.stage in stages:
                await slot.settled.wait()

    def follow(self, state: ControlState) -> None:
        """The control state is another one: bundles that are needed from now on are fetched, others are let go."""
        now = dict(state.rollouts)
        if now == self._followed:
            return
        self._followed = now
        # Those in a stage of use, those that may be the next ones there, and those that can be gone back to.
        wanted = {each.id: each for each in now.values() if each.stage in TAKEN_UP or each.approved_by}
        for name in self._slots.keys() - wanted.keys():
            self._slots.pop(name).drop()
        for name, rollout in wanted.items():
            slot = self._slots.get(name)
            if slot is None:
                slot = self._slots[name] = Slot(rollout)
                slot.task = asyncio.get_running_loop().create_task(self._load(slot))
            slot.rollout = rollout
        self._at = {
            (slot.rollout.scope, slot.rollout.stage): slot
            for slot in self._slots.values()
            if slot.rollout.stage in TAKEN_UP
        }
        for slot in self._slots.values():
            if slot.rollout.stage not in DECIDING:
                slot.retire()
            try:
                self._take_up(slot)
            except PolicyError as error:
                self._fail(slot, error)
        self._arranged()

    def superseded(self, revision: str) -> Rollout | None:
        """The live roll-out of the common bundle that a configured bundle of this revision takes the place of."""
        slot = self._at.get(("", "live"))
        return slot.rollout if slot is not None and gives_way(slot.rollout, revision, self._settings) else None

    async def choose(self, tenant: str, call: str) -> PolicyEngine:
        """The engine that decides this call; BundleUnavailable where its bundle is not there."""
        if not self._at:
            self._calls["common", "configured"].value += 1
            return self._base.engine
        common = self._common(tenant, call)
        own = self._taker(tenant, tenant, call)
        for slot in (common, own):
            if slot is not None and not slot.settled.is_set():
                await self._settle(slot)
                return await self.choose(tenant, call)  # meanwhile another one may decide
        engine = self._base.engine if common is None else self._engine(common)
        beside = None if own is None else self._engine(own)
        self._calls["common", common.rollout.stage if common is not None else "configured"].value += 1
        if own is not None:
            self._calls["tenant", own.rollout.stage].value += 1
        found = self._mixed(tenant, engine, beside)
        return Watched(found, call) if isinstance(found, Mix) else found

    def close(self) -> None:
        """Let go of all bundles and of the shadow process."""
        for slot in self._slots.values():
            slot.drop()
        self._slots.clear()
        self._at.clear()
        self._mixes.clear()
        self.shadow.close()

    # Choosing --------------------------------------------------------------------------------------------------------

    def _common(self, tenant: str, call: str) -> Slot | None:
        slot = self._taker("", tenant, call)
        if slot is None or gives_way(slot.rollout, self._base.engine.revision, self._settings):
            return None
        return slot

    def _taker(self, scope: str, tenant: str, call: str) -> Slot | None:
        """The roll-out of a scope that decides a call."""
        canary = self._at.get((scope, "canary"))
        if canary is not None and decides(canary.rollout, tenant, call):
            return canary
        return self._at.get((scope, "live"))

    async def _settle(self, slot: Slot) -> None:
        """Wait for a bundle that is being taken up."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await slot.settled.wait()
        except TimeoutError:
            raise BundleUnavailable(f"{_name(slot.rollout)} is still being taken up") from None

    def _engine(self, slot: Slot) -> EmbeddedEngine:
        if slot.engine is None:
            raise BundleUnavailable(f"{_name(slot.rollout)} {slot.fault}")
        return slot.engine

    def _mixed(self, tenant: str, common: PolicyEngine, own: PolicyEngine | None) -> PolicyEngine | Mix:
        """Both bundles together, and who looks on: the same object for calls that have the same."""
        looking = [
            slot
            for scope in ("", tenant)
            if (slot := self._at.get((scope, "shadow"))) is not None and slot.verdict is not None
        ]
        if own is None and not looking:
            return common
        configured = self._base.engine.revision
        if self._mixed_with != configured:
            self._mixed_with = configured
            self._mixes.clear()  # an engine that was replaced is not held on to
        key: tuple[object, ...] = (common, own, *(slot.rollout.id for slot in looking))
        found = self._mixes.get(key)
        if found is None:
            if looking:
                found = Mix(self.shadow, common, own, {slot.rollout.id: self._reads(slot) for slot in looking})
            else:
                assert own is not None
                found = CombinedEngine(common, own)
            if len(self._mixes) >= _MOST_MIXES:
                self._mixes.clear()
            self._mixes[key] = found
        return found

    def _reads(self, slot: Slot) -> tuple[Reads, Reads]:
        assert slot.verdict is not None
        reads = slot.verdict.reads
        return reads.get(self._settings.request_rule), reads.get(self._settings.response_rule)

    # Taking up -------------------------------------------------------------------------------------------------------

    async def _load(self, slot: Slot) -> None:
        """Fetch a bundle and have it examined; tried again until it is there or not needed any more."""
        tries = 0
        while True:
            try:
                slot.verdict = await asyncio.to_thread(self._examined, slot.rollout)
                self._take_up(slot)
            except Exception as error:  # whatever it is, calls that it decides are refused until it is over
                self._fail(slot, error)
            else:
                slot.fault = slot.told = ""
            slot.settled.set()
            self._arranged()
            if not slot.fault:
                return
            await asyncio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
            tries += 1

    def _examined(self, rollout: Rollout) -> Admission:
        bundle = stored_bundle(self._fetch, rollout, self._settings.verification)
        return examine(bundle, self._settings, self._verdicts)

    def _take_up(self, slot: Slot) -> None:
        """Make the engine where the roll-out decides, and tell of each stage that the bundle is taken up in."""
        rollout, verdict = slot.rollout, slot.verdict
        if verdict is None or rollout.stage not in TAKEN_UP:
            return
        assert verdict.bundle is not None
        if rollout.stage in DECIDING and slot.engine is None:
            slot.engine = EmbeddedEngine(verdict.bundle, self._settings, verdict.reads, verdict.uncached, self._meter)
        if slot.told != rollout.stage:
            slot.told = rollout.stage
            self._on_loaded(rollout, verdict)

    def _fail(self, slot: Slot, error: Exception) -> None:
        self._failures.inc()
        if isinstance(error, BundleError):
            problems = error.problems
        else:
            known = isinstance(error, LineageError | OSError)
            problems = (Problem(".", 0, 0, "store", str(error) if known else type(error).__name__),)
        fault = f"cannot be taken up: {problems[0].message}"
        if fault != slot.fault:
            slot.fault = fault
            self._on_rejected(slot.rollout, problems)

    def _arranged(self) -> None:
        """The bundles in force, or in shadow, are others."""
        self._mixes.clear()
        self._missing.set(sum(not slot.verdict for slot in self._at.values()))
        self.shadow.set(
            {
                slot.rollout.id: Trial(slot.rollout.id, slot.rollout.scope, slot.verdict)
                for (_, stage), slot in self._at.items()
                if stage == "shadow" and slot.verdict is not None
            }
        )

    def _broke_down(self, trial: Trial) -> None:
        slot = self._slots.get(trial.rollout)
        if slot is not None:
            message = "the shadow process broke down on it again and again, so it is not tried any more"
            self._on_rejected(slot.rollout, (Problem(".", 0, 0, "broken", message, "mend it and propose it again"),))


def _name(rollout: Rollout) -> str:
    whose = f"the own bundle of tenant {rollout.scope}" if rollout.scope else "the bundle"
    return f"{whose} that is {'in canary' if rollout.stage == 'canary' else 'live'} ({rollout.id})"
