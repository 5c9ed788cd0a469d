"""Every detector there is, and those that a configuration turns on."""

from __future__ import annotations

from detectors.decision_log import DecisionLogLost
from detectors.detector import Detector
from detectors.finding_volume import FindingVolume
from detectors.policy_server import PolicyServerLost
from detectors.refusal_burst import RefusalBurst
from detectors.rejected import Rejected
from detectors.revocation import Revocation
from detectors.settings import Detection
from detectors.unfinished import Unfinished

DETECTORS: tuple[type[Detector], ...] = (
    RefusalBurst,
    FindingVolume,
    Unfinished,
    Rejected,
    PolicyServerLost,
    Revocation,
    DecisionLogLost,
)


def detectors(settings: Detection) -> list[Detector]:
    """The detectors that `settings` turns on, each in its first state."""
    chosen: list[Detector] = [Unfinished(settings.unfinished), Rejected(), PolicyServerLost(), Revocation()]
    chosen.append(DecisionLogLost())
    if settings.refusal_burst.enabled:
        chosen.append(RefusalBurst(settings.refusal_burst))
    if settings.finding_volume.enabled:
        chosen.append(FindingVolume(settings.finding_volume))
    return chosen
