"""What is known of subjects is bounded: the least recent goes, the rest keeps what it knows."""

from __future__ import annotations

from detectors.detector import Subjects
from detectors.finding_volume import FindingVolume
from detectors.refusal_burst import RefusalBurst
from detectors.settings import FindingVolume as VolumeSettings
from detectors.settings import RefusalBurst as BurstSettings
from detectors.settings import Unfinished as UnfinishedSettings
from detectors.unfinished import CHECK_EVERY, Unfinished
from tests.support import records


def test_the_least_recent_subject_is_forgotten() -> None:
    subjects: Subjects[list[int]] = Subjects(2, list)
    subjects.of("a").append(1)
    subjects.of("b").append(2)
    subjects.of("a").append(3)
    subjects.of("c")
    assert [name for name, _ in subjects.items()] == ["a", "c"]
    assert subjects.of("a") == [1, 3] and subjects.of("b") == []
    subjects.forget("b")
    subjects.forget("never seen")
    assert len(subjects) == 1
    for name in "xyz":
        subjects.put(name, [])
    assert len(subjects) == 2


def test_a_flood_of_principals_does_not_grow_the_burst_detector() -> None:
    detector = RefusalBurst(BurstSettings(subjects=50))
    for n in range(5_000):
        detector.observe(n, b"call.refused", records.refused(n, f"acme/bot{n}"))
    assert len(detector.snapshot()) == 50


def test_a_flood_by_one_principal_keeps_a_bounded_number_of_refusals() -> None:
    detector = RefusalBurst(BurstSettings(threshold=5, window_seconds=1))
    for n in range(5_000):
        detector.observe(n, b"call.refused", records.refused(n * 10_000))
    (kept,) = detector.snapshot().values()
    assert isinstance(kept, list) and len(kept) <= 11


def test_a_flood_of_endpoints_and_of_findings_does_not_grow_the_volume_detector() -> None:
    detector = FindingVolume(VolumeSettings(subjects=20))
    for n in range(2_000):
        detector.observe(n, b"call.intent", records.intent(n, endpoint=f"e{n}", findings={"email": 1}))
    for n in range(2_000):
        detector.observe(n, b"call.intent", records.intent(2_000, endpoint="e", findings={"email": 1}))
    snapshot = detector.snapshot()
    assert len(snapshot) == 20
    busiest = snapshot["e"]
    assert isinstance(busiest, dict) and len(busiest["evidence"]) == 50 and busiest["count"] == 2_000


def test_open_calls_are_bounded_and_what_goes_is_told() -> None:
    detector = Unfinished(UnfinishedSettings(open_calls=100))
    alerts = [
        e for n in range(1_000) for e in detector.observe(n, b"call.intent", records.intent(n, f"gateway-{n % 3}-x"))
    ]
    calls = detector.snapshot()["open"]
    assert isinstance(calls, dict) and sum(map(len, calls.values())) <= 100
    told = sum(int(str((alert.decide(0) or {})["count"])) for alert in alerts)
    assert told + sum(map(len, calls.values())) == 1_000


def test_lives_without_open_calls_are_forgotten_in_time() -> None:
    detector = Unfinished()
    for n in range(CHECK_EVERY + 1):
        boot = f"gateway-0-{n}"
        detector.observe(2 * n, b"call.intent", records.intent(1, boot))
        detector.observe(2 * n + 1, b"call.outcome", records.outcome(1, 2 * n, boot))
    assert len(detector._open) <= 2
