"""A burst of refusals of one principal.

Refusals that the caller brought about count: what policy, inspection, routing or identity refused. Those that
containment itself causes do not, or a containment would be the reason for the next one; nor does what Cordon or an
upstream failed at.

Time is the records' own. The latest refusals of a principal are kept, and those within the window of the newest, before
or after it, are counted: a clock that jumps, or records that come out of order, put other records outside the window
and do no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from detectors.alert import Alert
from detectors.consumer import Emission, Fields
from detectors.detector import Case, Detector, Facts, Subjects, number, parse, text
from detectors.settings import RefusalBurst as Settings

STAGES = frozenset({"identity", "routing", "inspection", "decision"})
KEPT = 2
"""How many times the threshold is kept of a principal, so that one wrong clock among the writers hides nothing."""


@dataclass(slots=True)
class _Principal:
    """`latest`: (at, index) of refusals in log order. `quiet_since`: when the last alert was raised, 0: none."""

    latest: deque[tuple[int, int]] = field(default_factory=deque)
    quiet_since: int = 0


class RefusalBurst(Detector):
    """One principal is refused again and again within a short time."""

    name = "refusal_burst"
    kinds = frozenset({b"call.refused", b"containment.applied"})
    title = "Burst of refusals of one principal"
    meaning = "A stolen key is tried out on what it may reach, or an agent repeats what it was told it may not do."
    remedy = "Ask the key's owner. Where nobody knows of these calls, revoke the key; otherwise release the principal."

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._window = int(self._settings.window_seconds * 1000)
        self._quiet = int(self._settings.quiet_seconds * 1000)
        self._principals: Subjects[_Principal] = Subjects(self._settings.subjects, _Principal)

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Count a refusal; a containment of the principal ends the count, since what follows is new evidence."""
        facts = parse(record)
        if kind == b"containment.applied":
            if text(facts, "target_type") == "principal":
                self._principals.forget(text(facts, "target"))
            return ()
        principal = text(facts, "principal")
        if not principal or text(facts, "stage") not in STAGES or number(facts, "status") >= 500:
            return ()
        return self._count(principal, text(facts, "tenant"), number(facts, "at"), index)

    def _count(self, principal: str, tenant: str, at: int, index: int) -> Sequence[Emission]:
        state = self._principals.of(principal)
        if state.quiet_since and abs(at - state.quiet_since) < self._quiet:
            return ()
        latest = state.latest
        latest.append((at, index))
        threshold = self._settings.threshold
        if len(latest) < threshold:
            return ()
        if len(latest) > threshold * KEPT:
            latest.popleft()
        burst = [entry for entry in latest if abs(at - entry[0]) <= self._window]
        if len(burst) < threshold:
            return ()
        latest.clear()
        state.quiet_since = at
        return (self._alert(principal, tenant, burst).emission(),)

    def _alert(self, principal: str, tenant: str, burst: Sequence[tuple[int, int]]) -> Alert:
        times = [at for at, _ in burst]
        seconds = max(1, round((max(times) - min(times)) / 1000))
        return Alert(
            detector=self.name,
            severity="high",
            tenant=tenant,
            subject_type="principal",
            subject=principal,
            summary=f"{len(burst)} calls of {principal} were refused within {seconds} s",
            evidence=[index for _, index in burst],
            count=len(burst),
            since=min(times),
            until=max(times),
        )

    def snapshot(self) -> Fields:
        """Per principal: when it last had an alert, and its latest refusals."""
        return {name: [state.quiet_since, *state.latest] for name, state in self._principals.items()}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""
        for name, values in snapshot.items():
            quiet_since, *latest = cast("list[int | list[int]]", values)
            entries = deque((entry[0], entry[1]) for entry in latest if isinstance(entry, list))
            self._principals.put(name, _Principal(entries, cast(int, quiet_since)))


def _refusal(at: int, principal: str = "acme/bot", stage: str = "decision", status: int = 403) -> Facts:
    tenant = principal.partition("/")[0]
    return {
        "kind": "call.refused",
        "at": at,
        "principal": principal,
        "tenant": tenant,
        "stage": stage,
        "status": status,
    }


def _at(*times: int) -> list[Facts]:
    return [_refusal(at) for at in times]


def _contained(at: int, target: str = "acme/bot") -> Facts:
    return {"kind": "containment.applied", "at": at, "target_type": "principal", "target": target}


_FOUR = {"threshold": 4, "window_seconds": 10}
RefusalBurst.cases = (
    Case("twenty refusals within a minute", [_refusal(t * 1000) for t in range(20)], ["acme/bot"]),
    Case("nineteen are not a burst", [_refusal(t * 1000) for t in range(19)]),
    Case("twenty within an hour are not a burst", [_refusal(t * 180_000) for t in range(20)]),
    Case("twenty principals with one refusal each", [_refusal(t * 1000, f"acme/bot{t}") for t in range(20)]),
    Case("what containment refuses does not count", [_refusal(t, stage="containment") for t in range(100)]),
    Case("what the log could not take does not count", [_refusal(t, stage="lineage", status=503) for t in range(100)]),
    Case("no healthy endpoint is not the caller's doing", [_refusal(t, "acme/b", "routing", 503) for t in range(100)]),
    Case("one alert for a burst that goes on", [_refusal(t) for t in range(500)], ["acme/bot"]),
    Case("again when it goes on after the quiet time", [_refusal(t * 10_000) for t in range(80)], ["acme/bot"] * 2,
         {"threshold": 4, "window_seconds": 60, "quiet_seconds": 400}),
    Case("out of order within the window", _at(9000, 1000, 8000, 2000), ["acme/bot"], _FOUR),
    Case("one writer's clock is an hour ahead", _at(0, 1000, 3_600_000, 2000, 3000), ["acme/bot"], _FOUR),
    Case("the clock is set back in mid-burst", _at(90_000, 91_000, 0, 1000, 2000, 3000), ["acme/bot"], _FOUR),
    Case("new evidence after a containment", [*_at(1, 2, 3, 4), _contained(5), *_at(6, 7, 8, 9)],
         ["acme/bot"] * 2, _FOUR),
    Case("evidence from before a containment is spent", [*_at(1, 2, 3), _contained(4), *_at(5, 6, 7)], (), _FOUR),
)  # fmt: skip
