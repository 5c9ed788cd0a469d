"""An alert: what a detector saw, of whom, and the records that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from detectors.consumer import Emission, Fields, derived_id
from detectors.settings import Severity

SubjectType = Literal["principal", "endpoint", "gateway"]

MOST_EVIDENCE = 50
LONGEST_SUMMARY = 300


@dataclass(frozen=True, slots=True)
class Alert:
    """`evidence` are log indexes in ascending order; `since` and `until` are ms since the epoch, of the records' own
    time.

    `count` is how many things were counted (refusals, findings, calls), which may be more than the evidence.
    """

    detector: str
    severity: Severity
    tenant: str
    subject_type: SubjectType
    subject: str
    summary: str
    evidence: Sequence[int]
    count: int
    since: int
    until: int

    @property
    def id(self) -> str:
        """The same for the same detector, subject and first record of evidence, so that nothing is reported twice."""
        return derived_id("alert", self.detector, self.subject_type, self.subject, self.evidence[0])

    def emission(self) -> Emission:
        """The `alert.raised` record that is to be written for it."""
        fields: Fields = {
            "alert": self.id,
            "detector": self.detector,
            "severity": self.severity,
            "tenant": self.tenant,
            "subject_type": self.subject_type,
            "subject": self.subject,
            "summary": self.summary[:LONGEST_SUMMARY],
            "evidence": _capped(self.evidence),
            "count": self.count,
            "since": self.since,
            "until": self.until,
        }
        return Emission(b"alert.raised", self.id, lambda _now: fields)


def _capped(evidence: Sequence[int]) -> list[int]:
    """The first half and the last half of what may be kept: how it began and how it was when it was noticed."""
    if len(evidence) <= MOST_EVIDENCE:
        return list(evidence)
    half = MOST_EVIDENCE // 2
    return [*evidence[:half], *evidence[-half:]]
