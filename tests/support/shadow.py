"""A worker's shadow with a real process, and what it told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from lineage.metrics import Meter
from policies.admission import Admission
from policies.engine import Moment
from policies.result import Reason, RequestDecision
from policies.settings import Policy
from policies.shadow.runner import Shadow
from policies.shadow.trial import Trial
from tests.support.policies import bundle

ALLOWED, REFUSED = RequestDecision(True), RequestDecision(False, (Reason("old", "no"),))
REFUSES_BOB = """package cordon.request
decision := {"allow": input.name != "bob", "reasons": reasons}
reasons contains {"rule": "bob", "detail": "no"} if input.name == "bob"
"""
ENDLESS = """package cordon.request
decision := {"allow": count([1 | some i in numbers.range(1, 9000); some j in numbers.range(1, 9000); i * j == 7]) > 0}
"""


def trial(name: str, request: str, scope: str = "") -> Trial:
    return Trial(name, scope, Admission(bundle(request=request), (), {}, {}, {}))


async def until(holds: Callable[[], object]) -> None:
    """Wait for what other processes do."""
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


class Played:
    """A shadow and what it told."""

    def __init__(self) -> None:
        self.meter = Meter("test")
        self.broken: list[str] = []
        self.shadow = Shadow(Policy(), self.meter, lambda trial: self.broken.append(trial.rollout))

    def offer(
        self, call: str, document: Any, decision: RequestDecision = ALLOWED, rollout: str = "r", own: Any = None
    ) -> None:
        self.shadow.offer(rollout, call, Moment.REQUEST, json.dumps(document).encode(), decision, own)

    def pid(self) -> int:
        """The process's id, 0 while there is none."""
        process = self.shadow._process
        return 0 if process is None else process.get_pid()

    async def ready(self) -> None:
        await until(lambda: self.shadow.has_room(0))

    async def counted(self, decisions: int) -> dict[str, Any]:
        """What is counted once so many decisions were compared or skipped."""
        trials = self.shadow._trials.values()
        await until(lambda: sum(each.compared + each.skipped for each in trials) >= decisions)
        (facts,) = self.shadow.drain()
        return facts

    def total(self, kind: str) -> float:
        return self.meter.counter("cordon_policy_shadow_total", kind).value


@contextlib.asynccontextmanager
async def played(*trials: Trial) -> AsyncIterator[Played]:
    world = Played()
    world.shadow.set({each.rollout: each for each in trials})
    try:
        await world.ready()
        yield world
    finally:
        world.shadow.close()
