"""Each detector meets its own positive and negative cases, also when its state is stored and restored in between."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from detectors.catalogue import DETECTORS, detectors
from detectors.detector import Case, Detector
from detectors.settings import Detection

SETTINGS = {"refusal_burst": "refusal_burst", "finding_volume": "finding_volume", "unfinished": "unfinished"}
ALL = [(detector, case) for detector in DETECTORS for case in detector.cases]
NAMES = [f"{detector.name}: {case.name}" for detector, case in ALL]


def made(detector: type[Detector], case: Case) -> Detector:
    section = SETTINGS.get(detector.name)
    if section is None:
        return detector()
    settings = type(getattr(Detection(), section)).model_validate(case.settings)
    return detector(settings)  # type: ignore[call-arg]


def alerts(detector: Detector, case: Case, *, stored_every: int = 0) -> Iterator[dict[str, object]]:
    for index, facts in enumerate(case.records):
        kind = str(facts["kind"]).encode()
        if stored_every and index % stored_every == 0:
            snapshot = orjson.loads(orjson.dumps(detector.snapshot()))
            detector = made(type(detector), case)
            detector.restore(snapshot)
        if kind not in detector.kinds:
            continue
        record = orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)
        for emission in detector.observe(index, kind, record):
            if emission.kind == b"alert.raised":
                fields = emission.decide(0)
                assert fields is not None
                yield dict(fields)


@pytest.mark.parametrize(("detector", "case"), ALL, ids=NAMES)
def test_a_detector_raises_exactly_the_alerts_of_its_case(detector: type[Detector], case: Case) -> None:
    assert [alert["subject"] for alert in alerts(made(detector, case), case)] == list(case.subjects)


@pytest.mark.parametrize(("detector", "case"), ALL, ids=NAMES)
def test_storing_and_restoring_its_state_changes_no_alert(detector: type[Detector], case: Case) -> None:
    uninterrupted = list(alerts(made(detector, case), case))
    assert list(alerts(made(detector, case), case, stored_every=3)) == uninterrupted


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_a_detector_says_what_it_means_and_shows_both_kinds_of_cases(detector: type[Detector]) -> None:
    assert detector.title and detector.meaning and detector.remedy and detector.__doc__
    assert any(case.subjects for case in detector.cases), "no case in which it speaks"
    assert any(not case.subjects for case in detector.cases), "no case in which it stays silent"
    assert len({case.name for case in detector.cases}) == len(detector.cases)


@pytest.mark.parametrize(("detector", "case"), ALL, ids=NAMES)
def test_alerts_are_small_and_carry_their_evidence(detector: type[Detector], case: Case) -> None:
    for alert in alerts(made(detector, case), case):
        evidence = alert["evidence"]
        assert isinstance(evidence, list) and 1 <= len(evidence) <= 50
        assert evidence == sorted(set(evidence))
        assert all(0 <= index < len(case.records) for index in evidence)
        assert len(str(alert["summary"])) <= 300
        assert int(str(alert["since"])) <= int(str(alert["until"]))


@pytest.mark.parametrize(("detector", "case"), ALL, ids=NAMES)
def test_no_two_alerts_of_a_case_have_one_id(detector: type[Detector], case: Case) -> None:
    ids = [alert["alert"] for alert in alerts(made(detector, case), case)]
    assert len(set(ids)) == len(ids)


def test_detectors_that_are_turned_off_are_not_run() -> None:
    settings = Detection.model_validate({"refusal_burst": {"enabled": False}, "finding_volume": {"enabled": False}})
    assert {detector.name for detector in detectors(settings)} == {
        "unfinished",
        "rejected",
        "policy_server",
        "revocation",
        "decision_log",
    }
    assert {detector.name for detector in detectors(Detection())} == {detector.name for detector in DETECTORS}
