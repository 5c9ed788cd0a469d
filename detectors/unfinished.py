"""Calls that were sent and have no outcome.

Intents are remembered by the life of the process that wrote them (`boot`) until their outcome comes. When a process
starts in the same node, role and slot as an earlier life that never said it stopped, that life is over: it is reported
as `process.lost` with its open intents, and an alert is raised where there are any. An open call of a living process
is reported once it is overdue; the log writer may have died between a commit and its acknowledgement.

This sees two records of every call, so it reads single facts from the bytes and parses only the rare ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import cast

from detectors import peek
from detectors.alert import Alert
from detectors.consumer import Emission, Fields
from detectors.detector import Case, Detector, Facts, parse, text
from detectors.settings import Severity
from detectors.settings import Unfinished as Settings

MOST_INTENTS = 100
MOST_SLOTS = 4_096
CHECK_EVERY = 4_096
"""Intents between two looks for overdue ones."""

Open = dict[int, int]
"""Open intents of one life: log index to the time that they were made (ms since the epoch), oldest first."""


class Unfinished(Detector):
    """A process ended without saying so, or calls stayed without an outcome."""

    name = "unfinished"
    kinds = frozenset({b"call.intent", b"call.outcome", b"process.started", b"process.stopped", b"process.lost"})
    title = "Calls without an outcome"
    meaning = "A process was killed or crashed. Content may have reached an upstream whose answer nobody recorded."
    remedy = (
        "Look at the intents in the evidence: what they say was sent may have arrived. Find out why the process died."
    )

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._overdue = int(self._settings.overdue_seconds * 1000)
        self._open: dict[bytes, Open] = {}
        self._slots: dict[str, str] = {}
        self._total = 0
        self._intents = 0

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Open a call, close it, or see what a process left open."""
        if kind == b"call.outcome":
            calls = self._open.get(peek.boot(record))
            if calls is not None and calls.pop(peek.intent(record), None) is not None:
                self._total -= 1
            return ()
        if kind == b"call.intent":
            return self._intent(index, record)
        facts = parse(record)
        if kind == b"process.started":
            place = f"{text(facts, 'node')}/{text(facts, 'role')}/{facts.get('slot', '')}"
            return self._started(place, text(facts, "boot"))
        if kind == b"process.lost":
            return self._ended(text(facts, "lost_boot"))
        self._vacate(text(facts, "boot"))
        return ()

    def _intent(self, index: int, record: bytes) -> Iterable[Emission]:
        boot = peek.boot(record)
        calls = self._open.get(boot)
        if calls is None:
            calls = self._open[boot] = {}
        at = calls[index] = peek.at(record)
        self._total += 1
        self._intents += 1
        if self._total > self._settings.open_calls:
            fullest = max(self._open, key=lambda life: len(self._open[life]))
            oldest = list(self._open[fullest])[: max(1, self._settings.open_calls // 10)]
            return [self._overdue_calls(fullest, oldest)]
        if self._intents % CHECK_EVERY == 0:
            return self._look_for_overdue(at)
        return ()

    def _look_for_overdue(self, now: int) -> list[Emission]:
        emissions = []
        for boot, calls in list(self._open.items()):
            late = list(takewhile(lambda index: now - calls[index] > self._overdue, calls))  # noqa: B023
            if late:
                emissions.append(self._overdue_calls(boot, late))
            if not calls:
                del self._open[boot]
        return emissions

    def _overdue_calls(self, boot: bytes, late: Sequence[int]) -> Emission:
        calls = self._open[boot]
        times = [calls.pop(index) for index in late]
        self._total -= len(late)
        life = boot.decode("ascii", "replace")
        return self._alert("low", life, f"{len(late)} calls of {life} have no outcome after a long time", late, times)

    def _started(self, slot: str, boot: str) -> list[Emission]:
        earlier = self._slots.pop(slot, "")
        self._slots[slot] = boot
        if len(self._slots) > MOST_SLOTS:
            self._slots.pop(next(iter(self._slots)))
        if earlier in {"", boot}:
            return []
        intents = list(self._open.get(earlier.encode(), ()))
        lost = {"lost_boot": earlier, "intents": intents[:MOST_INTENTS], "count": len(intents)}
        return [Emission(b"process.lost", earlier, lambda _now: lost), *self._ended(earlier)]

    def _ended(self, boot: str) -> list[Emission]:
        """A life is over: forget it, and raise an alert unless that was done when its successor started."""
        calls = self._open.pop(boot.encode(), {})
        self._total -= len(calls)
        self._vacate(boot)
        if not calls:
            return []
        summary = f"{boot} ended without saying so; {len(calls)} of its calls were sent and have no outcome"
        return [self._alert("medium", boot, summary, list(calls), list(calls.values()))]

    def _vacate(self, boot: str) -> None:
        for slot, life in list(self._slots.items()):
            if life == boot:
                del self._slots[slot]

    def _alert(
        self, severity: Severity, life: str, summary: str, calls: Sequence[int], times: Sequence[int]
    ) -> Emission:
        alert = Alert(
            detector=self.name,
            severity=severity,
            tenant="",
            subject_type="gateway",
            subject=life,
            summary=summary,
            evidence=calls,
            count=len(calls),
            since=min(times),
            until=max(times),
        )
        return alert.emission()

    def snapshot(self) -> Fields:
        """The latest life of each slot, and the open calls of each life."""
        calls = {boot.decode("ascii", "replace"): list(open_.items()) for boot, open_ in self._open.items() if open_}
        return {"slots": self._slots, "open": calls, "intents": self._intents}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""
        self._slots = dict(cast("dict[str, str]", snapshot["slots"]))
        calls = cast("dict[str, list[tuple[int, int]]]", snapshot["open"])
        self._open = {boot.encode(): dict(entries) for boot, entries in calls.items()}
        self._total = sum(map(len, self._open.values()))
        self._intents = cast(int, snapshot["intents"])


_ROLE: Facts = {"role": "gateway", "at": 5, "node": "n"}


def _process(kind: str, boot: str, slot: int = 0, **more: object) -> Facts:
    return {"kind": f"process.{kind}", "boot": boot, "slot": slot, **_ROLE, **more}


def _starts(boot: str, slot: int = 0) -> Facts:
    return _process("started", boot, slot)


def _sent(boot: str, at: int = 1) -> Facts:
    return {"kind": "call.intent", "at": at, "boot": boot, "call": "c"}


def _done(boot: str, intent: int) -> Facts:
    return {"kind": "call.outcome", "at": 2, "boot": boot, "intent": intent, "verdict": "allowed"}


Unfinished.cases = (
    Case("a worker that died with a call open", [_starts("a"), _sent("a"), _starts("b")], ["a"]),
    Case("every call had its outcome", [_starts("a"), _sent("a"), _done("a", 1), _starts("b")]),
    Case("it stopped in order", [_starts("a"), _process("stopped", "a"), _starts("b")]),
    Case("another slot starts", [_starts("a"), _sent("a"), _starts("b", slot=1)]),
    Case("the same slot of another node starts",
         [_starts("a"), _sent("a"), _process("started", "b", node="m")]),
    Case("the outcome of another life closes nothing",
         [_starts("a"), _sent("a"), _done("z", 1), _starts("b")], ["a"]),
    Case("the supervisor reported it first",
         [_starts("a"), _sent("a"), _process("lost", "s", lost_boot="a"), _starts("b")], ["a"]),
    Case("a third life in the slot reports the second only", [_starts("a"), _sent("a"), _starts("b"),
         _sent("b"), _starts("c")], ["a", "b"]),
    Case("an open call of a living process is overdue in the end",
         [_starts("a"), *[_sent("a", 1 + n * 1000) for n in range(CHECK_EVERY)]], ["a"]),
    Case("more open calls than are remembered", [*[_sent("a")] * 11], ["a"], {"open_calls": 10}),
)  # fmt: skip
