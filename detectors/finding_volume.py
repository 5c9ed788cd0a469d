"""An unusual volume of findings sent to one endpoint.

Findings of the intents are counted by endpoint and interval. What is usual is learned from the intervals that are over:
a mean and a mean absolute deviation, both fading exponentially. An interval is unusual as soon as its count passes the
mean by so many deviations, and never below a floor. An unusual interval is learned as if it had just reached the limit,
so that a flood does not become the new usual at once.

Where most of what was found went out unredacted the alert is of high severity, otherwise of medium: masked findings did
not leave, but somebody tried.

Time is the records' own. Records of the last interval that come late count for the current one. A clock that is set
back moves the current interval back; one that jumps ahead lets the time between pass as empty intervals, a bounded
number of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import cast

from detectors.alert import MOST_EVIDENCE, Alert
from detectors.consumer import Emission, Fields
from detectors.detector import Case, Detector, Facts, Subjects, number, parse, text
from detectors.settings import FindingVolume as Settings

LATE_INTERVALS = 2
MOST_EMPTY = 1_000
"""More empty intervals than this are not learned from: it was a pause or a clock, not a quiet time."""


@dataclass(slots=True)
class _Endpoint:
    """The current interval (`number`, `count`, …) and what was learned from `seen` earlier ones."""

    number: int = -1
    count: int = 0
    exposed: int = 0
    since: int = 0
    alerted: bool = False
    evidence: list[int] = field(default_factory=list)
    seen: int = 0
    mean: float = 0.0
    deviation: float = 0.0


class FindingVolume(Detector):
    """Far more findings than usual are sent to one endpoint."""

    name = "finding_volume"
    kinds = frozenset({b"call.intent", b"containment.applied"})
    title = "Unusual volume of findings to one endpoint"
    meaning = "Personal data or secrets leave in bulk through an endpoint that usually gets few of them."
    remedy = "Look at the calls in the evidence and who made them; tighten what policy redacts for this endpoint."

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._interval = int(self._settings.interval_seconds * 1000)
        self._weight = 1.0 / self._settings.memory
        self._endpoints: Subjects[_Endpoint] = Subjects(self._settings.subjects, _Endpoint)

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Count an intent's findings; a containment of the endpoint ends the interval's count, what follows is new
        evidence."""
        if b'"findings":{}' in record:
            return ()
        facts = parse(record)
        if kind == b"containment.applied":
            if text(facts, "target_type") == "endpoint":
                self._spend(text(facts, "target"))
            return ()
        findings, redacted = facts.get("findings"), facts.get("redacted")
        endpoint = text(facts, "endpoint")
        if not endpoint or not isinstance(findings, dict):
            return ()
        left_out = redacted if isinstance(redacted, dict) else {}
        count = sum(found for found in findings.values() if type(found) is int)
        exposed = sum(found for name, found in findings.items() if type(found) is int and name not in left_out)
        return self._count(endpoint, text(facts, "tenant"), number(facts, "at"), index, count, exposed)

    def _spend(self, endpoint: str) -> None:
        state = self._endpoints.of(endpoint)
        state.count, state.exposed, state.evidence, state.alerted = 0, 0, [], False

    def _count(self, endpoint: str, tenant: str, at: int, index: int, count: int, exposed: int) -> Sequence[Emission]:
        state = self._endpoints.of(endpoint)
        self._move_to(state, at // self._interval)
        if not state.count:
            state.since = at
        state.count += count
        state.exposed += exposed
        if len(state.evidence) < MOST_EVIDENCE:
            state.evidence.append(index)
        else:
            state.evidence[-1] = index
        if state.alerted or state.count <= self._limit(state):
            return ()
        state.alerted = True
        return (self._alert(endpoint, tenant, at, state).emission(),)

    def _limit(self, state: _Endpoint) -> float:
        """The count up to which an interval is usual.

        Counts of independent events scatter by the root of their mean, so the deviation is never taken for less than
        that.
        """
        if state.seen < self._settings.learning:
            return max(self._settings.floor, self._settings.untrained)
        scatter = max(state.deviation, sqrt(state.mean))
        return max(self._settings.floor, state.mean + self._settings.deviations * scatter)

    def _move_to(self, state: _Endpoint, number: int) -> None:
        """Close the intervals before `number` and learn from them, unless the record is just late."""
        ahead = number - state.number
        if state.number < 0 or ahead < -LATE_INTERVALS:
            self._open(state, number)
        elif ahead > 0:
            self._learn(state, min(float(state.count), self._limit(state)))
            if ahead - 1 <= MOST_EMPTY:
                for _ in range(ahead - 1):
                    self._learn(state, 0.0)
            self._open(state, number)

    def _learn(self, state: _Endpoint, count: float) -> None:
        weight = max(self._weight, 1.0 / (state.seen + 1))
        difference = count - state.mean
        state.mean += weight * difference
        state.deviation += weight * (abs(difference) - state.deviation)
        state.seen += 1

    def _open(self, state: _Endpoint, number: int) -> None:
        state.number, state.count, state.exposed, state.alerted, state.evidence = number, 0, 0, False, []

    def _alert(self, endpoint: str, tenant: str, at: int, state: _Endpoint) -> Alert:
        usual = (
            f"usual are about {round(state.mean)}"
            if state.seen >= self._settings.learning
            else "what is usual is being learned"
        )
        return Alert(
            detector=self.name,
            severity="high" if state.exposed * 2 >= state.count else "medium",
            tenant=tenant,
            subject_type="endpoint",
            subject=endpoint,
            summary=f"{state.count} findings were sent to {endpoint} within {round(self._interval / 1000)} s, "
            f"{state.count - state.exposed} of them redacted; {usual}",
            evidence=sorted(state.evidence),
            count=state.count,
            since=min(state.since, at),
            until=max(state.since, at),
        )

    def snapshot(self) -> Fields:
        """Per endpoint: the current interval and what was learned."""
        return {name: asdict(state) for name, state in self._endpoints.items()}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""
        for name, values in snapshot.items():
            self._endpoints.put(name, _Endpoint(**cast("Mapping[str, int]", values)))  # type: ignore[arg-type]


def _sent(at: int, count: int, endpoint: str = "eu", redacted: str = "") -> Facts:
    findings = {"email": count} if count else {}
    record = {"kind": "call.intent", "at": at, "endpoint": endpoint, "tenant": "acme", "findings": findings}
    return record | {"redacted": {redacted: "mask"} if redacted else {}}


def _minutes(count: int, minutes: Iterable[int], endpoint: str = "eu") -> list[Facts]:
    return [_sent(minute * 60_000, count, endpoint) for minute in minutes]


def _contained(at: int, target: str = "eu") -> Facts:
    return {"kind": "containment.applied", "at": at, "target_type": "endpoint", "target": target}


_NOISY = [_sent(minute * 60_000, 300 + (minute * 37) % 90) for minute in range(60)]
_HUNDRED = _minutes(100, range(30))
FindingVolume.cases = (
    Case("ten times the usual, once the usual is known", [*_HUNDRED, *_minutes(1000, [30])], ["eu"]),
    Case("below the floor nothing is unusual", [*_minutes(1, range(30)), *_minutes(199, [30])]),
    Case("the usual scatter", _NOISY),
    Case("twice a noisy usual", [*_NOISY, *_minutes(800, [60])], ["eu"]),
    Case("slow growth is learned", [_sent(minute * 60_000, 200 + minute) for minute in range(300)]),
    Case("a flood before anything is learned", _minutes(1001, [0]), ["eu"]),
    Case("a new endpoint may be busy", _minutes(999, range(8))),
    Case("one alert in one interval", [*_HUNDRED, *[_sent(1_800_000 + n, 400) for n in range(50)]], ["eu"]),
    Case("a flood does not become usual at once", [*_HUNDRED, *_minutes(5000, range(30, 33))], ["eu"] * 3),
    Case("another endpoint's usual is no excuse", [*_minutes(900, range(9), "us"), *_minutes(1001, [9], "eu")], ["eu"]),
    Case("calls without findings cost nothing", [_sent(n, 0) for n in range(2000)]),
    Case("late records count for the open interval", [*_HUNDRED, _sent(1_800_000, 150), _sent(1_795_000, 99)], ["eu"]),
    Case("a clock set back opens that interval anew", [*_minutes(100, range(100, 130)), *_minutes(190, [10, 11, 12])]),
    Case("a clock far ahead and back again", _minutes(250, [*range(30), 9_000_000, *range(31, 40)])),
    Case("after a containment only new findings count", [*_minutes(600, [0]), _contained(1), *_minutes(600, [0])]),
)  # fmt: skip
