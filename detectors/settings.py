"""What an operator configures of detection and of the containment that follows it.

Durations are seconds of the records' own time, unless they say otherwise.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lineage.settings import Settings

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")


class RefusalBurst(Settings):
    """One principal is refused again and again: a stolen key that probes, or an agent that got out of hand."""

    enabled: bool = Field(True, description="whether this detector runs")
    threshold: int = Field(20, ge=2, le=1_000, description="refusals of one principal that make a burst")
    window_seconds: float = Field(60.0, gt=0, le=86_400, description="time that these refusals lie within")
    quiet_seconds: float = Field(300.0, ge=0, le=86_400, description="no second alert on the same principal this soon")
    subjects: int = Field(10_000, ge=1, le=1_000_000, description="principals watched at once; the least recent goes")


class FindingVolume(Settings):
    """More findings are sent to one endpoint than it is used to: data that leaves in bulk."""

    enabled: bool = Field(True, description="whether this detector runs")
    interval_seconds: float = Field(60.0, gt=0, le=86_400, description="findings are counted by intervals this long")
    floor: int = Field(200, ge=1, description="fewer findings in an interval are never unusual")
    deviations: float = Field(6.0, gt=0, description="how many usual deviations above the usual count are unusual")
    memory: int = Field(60, ge=2, le=10_000, description="intervals after which what was learned has faded to a third")
    learning: int = Field(10, ge=0, le=10_000, description="intervals seen before the learned count is trusted")
    untrained: int = Field(1_000, ge=1, description="findings in an interval that are unusual while still learning")
    subjects: int = Field(1_000, ge=1, le=100_000, description="endpoints watched at once; the least recent goes")


class Unfinished(Settings):
    """Calls that were sent and have no outcome: a process died, or an answer's end was never recorded."""

    overdue_seconds: float = Field(1_800.0, gt=0, description="a call still open after this time is reported")
    open_calls: int = Field(200_000, ge=1, description="open calls remembered; over it the oldest is reported at once")


class Contain(Settings):
    """The containment that an alert triggers."""

    enabled: bool = Field(True, description="whether alerts lead to containment")
    severity: Severity = Field("high", description="alerts from this severity on lead to containment")
    seconds: int = Field(900, ge=1, le=2_592_000, description="how long a containment lasts unless it is released")
    most: int = Field(10, ge=0, le=10_000, description="subjects contained automatically within the window below")
    window_seconds: float = Field(3_600.0, gt=0, description="over `most` within this time there are only alerts")
    spare: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = Field(
        (), description="principals (tenant/name) and endpoints that are never contained automatically"
    )


class Detection(Settings):
    """Detectors, and what follows from their alerts."""

    refusal_burst: RefusalBurst = RefusalBurst()
    finding_volume: FindingVolume = FindingVolume()
    unfinished: Unfinished = Unfinished()
    contain: Contain = Contain()
    cursor_seconds: float = Field(1.0, gt=0, le=60, description="how often the place in the log is stored (wall clock)")
    batch: int = Field(1_024, ge=1, le=65_536, description="records read at once")
    lookback: int = Field(
        100_000, ge=0, description="records that a detector without a stored place, such as a new one, looks back on"
    )
