"""The table of alerts: newest first, bounded, and what a hostile record puts into it stays text."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from detectors import alerts
from detectors.alert import MOST_EVIDENCE, Alert
from detectors.alerts import AlertTable, find_alert, list_alerts, set_state
from tests.support import records
from tests.support.states import StatePlace

LARGEST = 2**53 - 1


@pytest.fixture
def state(state_place: StatePlace) -> Engine:
    return state_place.open()


def raised(index: int, **changes: object) -> bytes:
    facts: dict[str, object] = {"alert": f"alert-{index}", "detector": "d", "severity": "high", "tenant": "acme"}
    facts |= {"subject_type": "principal", "subject": "acme/b", "summary": "s", "count": 2, "since": 1, "until": 2}
    facts |= {"evidence": [1, 2]} | changes
    return records.record("alert.raised", 1_000 + index, facts=facts)


def project(state: Engine, table: AlertTable, *rows: tuple[int, bytes]) -> None:
    for index, record in rows:
        assert table.observe(index, b"alert.raised", record) == ()
    with state.begin() as connection:
        for statement in table.writes():
            connection.execute(statement)


def test_the_newest_come_first_page_by_page(state: Engine) -> None:
    project(state, AlertTable(), *[(n, raised(n)) for n in range(25)])
    first = list_alerts(state, limit=10)
    second = list_alerts(state, limit=10, before=first[-1].log_index)
    assert [row.log_index for row in first + second] == list(range(24, 4, -1))
    assert (first[0].raised_at, first[0].evidence, first[0].state) == (1_024, (1, 2), "open")


def test_only_so_many_are_kept(state: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "MOST_ALERTS", 10)
    table = AlertTable()
    for batch in range(4):
        project(state, table, *[(n, raised(n)) for n in range(batch * 7, batch * 7 + 7)])
    assert [row.log_index for row in list_alerts(state, limit=100)] == list(range(27, 17, -1))


def test_the_same_alert_twice_is_one(state: Engine) -> None:
    project(state, AlertTable(), (3, raised(3)), (9, raised(3)))
    assert [row.log_index for row in list_alerts(state)] == [3]
    assert AlertTable().writes() == ()


def test_hostile_and_missing_facts_stay_text(state: Engine) -> None:
    hostile = "'); DROP TABLE alerts; --<script>"
    project(state, AlertTable(), (1, raised(1, subject=hostile, summary=hostile, count="many", evidence=None)))
    row = find_alert(state, "alert-1")
    assert row is not None and row.subject == row.summary == hostile
    assert (row.count, row.evidence) == (0, ())
    project(state, AlertTable(), (2, raised(2, evidence=[1, "2", None, True])))
    row = find_alert(state, "alert-2")
    assert row is not None and row.evidence == (1,)


@pytest.mark.parametrize("hostile", ["a\0b", "x" * 5_000, "\U0001f600" * 300, "%s %(a)s :b"])
def test_no_text_of_a_record_stops_the_table(state: Engine, hostile: str) -> None:
    """Not one that PostgreSQL cannot keep, or that is longer than its column; the alerts around it are there."""
    texts = ("alert", "detector", "severity", "tenant", "subject_type", "subject", "summary")
    odd = raised(2, **dict.fromkeys(texts, hostile), evidence=[LARGEST] * 1_000, count=LARGEST, since=-LARGEST)
    project(state, AlertTable(), (1, raised(1)), (2, odd), (3, raised(3)))
    rows = list_alerts(state)
    assert [row.log_index for row in rows] == [3, 2, 1]
    assert rows[1].summary == hostile.replace("\0", "\ufffd")[:300]
    assert (len(rows[1].evidence), rows[1].count) == (MOST_EVIDENCE, LARGEST)
    assert find_alert(state, "a\0b\ud800") is None
    assert not set_state(state, "\0", "closed", by="alice", at=1)


def test_evidence_is_capped_to_the_beginning_and_the_end() -> None:
    alert = Alert("d", "low", "", "endpoint", "eu", "x" * 400, tuple(range(200)), 200, 1, 2)
    fields = alert.emission().decide(0)
    assert fields is not None
    evidence = fields["evidence"]
    assert isinstance(evidence, list) and len(evidence) == MOST_EVIDENCE
    assert (evidence[0], evidence[24], evidence[25], evidence[-1]) == (0, 24, 175, 199)
    assert len(str(fields["summary"])) == 300


def test_an_id_depends_on_detector_subject_and_first_evidence_only() -> None:
    def named(detector: str = "d", subject: str = "eu", first: int = 1, summary: str = "s") -> str:
        return Alert(detector, "low", "", "endpoint", subject, summary, (first, 9), 2, 1, 2).id

    assert named() == named(summary="other")
    assert len({named(), named(detector="e"), named(subject="us"), named(first=2), named("d\0eu", "", 1)}) == 5
