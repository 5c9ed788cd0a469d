"""The first playbook: an alert of enough severity isolates its subject for a limited time.

    1  an alert names a principal or an endpoint, and its severity is at least the configured one
    2  it is not on the list of those to be spared
    3  fewer than `most` subjects were contained automatically within the window; otherwise there is one more alert,
       and people decide
    4  when it is written: the evidence is not older than the containment would last, and the subject is not contained
    5  `containment.applied`, with the detector as owner, the alert's summary as reason, and the time at which it ends

The containment's id follows from the alert's, so one alert contains once: what a person released is not contained again
from the same evidence. Everything is a projection of the log; the wall clock is read in step 4 alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

import structlog

from detectors.alert import Alert
from detectors.consumer import Consumer, Emission, Fields, derived_id
from detectors.detector import Facts, number, parse, text
from detectors.settings import SEVERITIES
from detectors.settings import Contain as Settings
from lineage.actions import ActionError, Stamp, TargetType, apply_containment
from lineage.control import ControlState

OWNER_PREFIX = "detector:"
MOST_REMEMBERED = 10_000

_log = structlog.get_logger("cordon.playbooks")


class Containing(Consumer):
    """Turns alerts into containments. `control` yields the control state as it is now."""

    name = "containment"
    kinds = frozenset({b"alert.raised", b"containment.applied"})

    def __init__(self, settings: Settings, control: Callable[[], ControlState]) -> None:
        self._settings = settings
        self._control = control
        self._least = SEVERITIES.index(settings.severity)
        self._window = int(settings.window_seconds * 1000)
        self._automatic: deque[tuple[int, str]] = deque(maxlen=MOST_REMEMBERED)
        """(at, containment id) of those that were, or are about to be, applied automatically."""
        self._warned_at = 0

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Count a containment that a detector owns; act on an alert."""
        facts = parse(record)
        if kind == b"containment.applied":
            if text(facts, "owner").startswith(OWNER_PREFIX):
                self._remember(number(facts, "at"), text(facts, "containment"))
            return ()
        if not self._wanted(facts):
            return ()
        at = number(facts, "at")
        recent = sum(1 for applied, _ in self._automatic if abs(at - applied) <= self._window)
        if recent >= self._settings.most:
            return self._warn(index, at, facts)
        containment = derived_id("con", text(facts, "alert"))
        self._remember(at, containment)
        return (Emission(b"containment.applied", containment, lambda now: self._decide(now, containment, facts)),)

    def _wanted(self, alert: Facts) -> bool:
        severity, subject = text(alert, "severity"), text(alert, "subject")
        return (
            self._settings.enabled
            and text(alert, "subject_type") in {"principal", "endpoint"}
            and severity in SEVERITIES
            and SEVERITIES.index(severity) >= self._least
            and subject not in self._settings.spare
        )

    def _remember(self, at: int, containment: str) -> None:
        if all(known != containment for _, known in self._automatic):
            self._automatic.append((at, containment))

    def _warn(self, index: int, at: int, alert: Facts) -> tuple[Emission, ...]:
        """One alert in a window says that containment has reached its limit."""
        if self._warned_at and abs(at - self._warned_at) <= self._window:
            return ()
        self._warned_at = at
        limit = Alert(
            detector=self.name,
            severity="critical",
            tenant=text(alert, "tenant"),
            subject_type="gateway",
            subject="containment",
            summary=f"{self._settings.most} subjects were contained automatically within "
            f"{round(self._window / 1000)} s; {text(alert, 'subject')} and further ones are not. Decide by hand.",
            evidence=(index,),
            count=self._settings.most,
            since=at,
            until=at,
        )
        return (limit.emission(),)

    def _decide(self, now: int, containment: str, alert: Facts) -> Fields | None:
        target_type, target = cast(TargetType, text(alert, "subject_type")), text(alert, "subject")
        if now - number(alert, "until") > self._settings.seconds * 1000:
            _log.info("containment_too_late", alert=text(alert, "alert"), target=target)
            return None
        for known in self._control().containments.values():
            if (known.target_type, known.target) == (target_type, target) and known.until > now:
                return None
        try:
            record = apply_containment(
                Stamp(now, ""),
                target_type=target_type,
                target=target,
                reason=text(alert, "summary"),
                owner=OWNER_PREFIX + text(alert, "detector"),
                seconds=self._settings.seconds,
                alert=text(alert, "alert"),
            )
        except ActionError as error:
            _log.error("containment_impossible", alert=text(alert, "alert"), problem=str(error))
            return None
        del record["boot"]
        return record | {"containment": containment}

    def snapshot(self) -> Fields:
        """The automatic containments of late, and when the limit was last reported."""
        return {"automatic": list(self._automatic), "warned_at": self._warned_at}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""
        automatic = cast("list[tuple[int, str]]", snapshot["automatic"])
        self._automatic.extend((at, containment) for at, containment in automatic)
        self._warned_at = cast(int, snapshot["warned_at"])
