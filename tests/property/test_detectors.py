"""For any history: detectors never fail, lose nothing when stored, stay bounded, and emit what the log takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.consumer import Consumer, Emission
from detectors.finding_volume import FindingVolume
from detectors.refusal_burst import RefusalBurst
from detectors.rejected import Rejected
from detectors.settings import Contain
from detectors.settings import FindingVolume as VolumeSettings
from detectors.settings import RefusalBurst as BurstSettings
from detectors.settings import Unfinished as UnfinishedSettings
from detectors.unfinished import Unfinished
from lineage.control import ControlState
from lineage.record import encode
from playbooks.containment import Containing
from tests.support import records

NOW = 1_800_000_000_000
BURST = BurstSettings(threshold=3, window_seconds=10, quiet_seconds=40, subjects=3)
VOLUME = VolumeSettings(interval_seconds=5, floor=3, untrained=5, learning=2, memory=3, subjects=2)
UNFINISHED = UnfinishedSettings(overdue_seconds=20, open_calls=6)
CONTAIN = Contain(severity="low", most=2, window_seconds=30, spare=("acme/p0",))
MADE: dict[str, Callable[[], Consumer]] = {
    "refusal_burst": lambda: RefusalBurst(BURST),
    "finding_volume": lambda: FindingVolume(VOLUME),
    "unfinished": lambda: Unfinished(UNFINISHED),
    "rejected": Rejected,
    "containment": lambda: Containing(CONTAIN, ControlState),
}

steps = st.one_of(
    st.integers(0, 1_500),
    st.integers(0, 1_500),
    st.sampled_from([-3_600_000, 3_600_000, -2_000, 30_000, -NOW, 2**53 - 1 - NOW]),
)
boots = st.sampled_from(["gateway-0-a", "gateway-0-b", "gateway-1-a"])
principals = st.sampled_from(["acme/p0", "acme/p1", "acme/p1", "acme/p2", "acme/p3"])
endpoints = st.sampled_from(["eu", "us", "ap"])
findings = st.dictionaries(st.sampled_from(["email", "iban"]), st.integers(0, 9), max_size=2)
stages = st.sampled_from(["routing", "inspection", "decision", "decision", "containment", "lineage"])


def process(kind: str, at: int, boot: str) -> bytes:
    return records.record(f"process.{kind}", at, boot, {"role": "gateway", "slot": int(boot[8])})


def contained(at: int, kind: str, target: str, owner: str) -> bytes:
    facts = {
        "containment": f"con-{at}",
        "target_type": kind,
        "target": target,
        "owner": owner,
        "reason": "r",
        "until": at,
    }
    return records.record("containment.applied", at, facts=facts)


def rejected(at: int, problems: list[str]) -> bytes:
    return records.record("policy.rejected", at, facts={"bundle": "b", "problems": problems})


def alert(at: int, subject: str, severity: str) -> bytes:
    kind = "principal" if "/" in subject else "endpoint"
    facts = {"alert": f"alert-{at}{subject}", "detector": "d", "severity": severity, "tenant": "acme", "count": 1}
    return records.record(
        "alert.raised",
        at,
        facts=facts
        | {"subject_type": kind, "subject": subject, "summary": "s", "evidence": [1], "since": at, "until": at},
    )


Event = Callable[[int], bytes]


def event(make: Callable[..., bytes], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    """A record that is made as soon as its time is known."""
    return st.tuples(*arguments).map(lambda values: lambda at: make(at, *values))


refusals = event(records.refused, principals, stages, st.sampled_from([401, 403, 404, 503]))
intents = event(
    lambda at, *rest: records.intent(at, rest[0], endpoint=rest[1], findings=rest[2]), boots, endpoints, findings
)
others = st.one_of(
    event(records.outcome, st.integers(0, 99), boots),
    event(lambda at, kind, boot: process(kind, at, boot), st.sampled_from(["started", "started", "stopped"]), boots),
    event(lambda at, boot: records.record("process.lost", at, facts={"lost_boot": boot}), boots),
    event(contained, st.just("principal"), principals, st.sampled_from(["alice", "detector:d"])),
    event(contained, st.just("endpoint"), endpoints, st.just("alice")),
    event(alert, st.one_of(principals, endpoints), st.sampled_from(["low", "critical"])),
    event(rejected, st.lists(st.text("ab", max_size=1), max_size=2)),
)


everything = st.one_of(refusals, intents, others)
focused = st.sampled_from([refusals, intents, everything])


@st.composite
def histories(draw: st.DrawFn, events: st.SearchStrategy[Event] | None = None) -> list[bytes]:
    """Records of one log: mostly a second apart, sometimes out of order or after a jump of the clock."""
    at, history = NOW, []
    events = draw(focused) if events is None else events
    for make, step in draw(st.lists(st.tuples(events, steps), min_size=20, max_size=100)):
        at = max(0, min(2**53 - 1, at + step))
        history.append(make(at))
        if abs(step) > 30_000:
            at = NOW
    return history


def emitted(made: Callable[[], Consumer], history: Sequence[bytes], stored_at: frozenset[int]) -> list[Emission]:
    consumer = made()
    found: list[Emission] = []
    for index, record in enumerate(history):
        if index in stored_at:
            snapshot = orjson.loads(orjson.dumps(consumer.snapshot()))
            consumer = made()
            consumer.restore(snapshot)
        kind = orjson.loads(record)["kind"].encode()
        if kind in consumer.kinds:
            found += consumer.observe(index, kind, record)
    assert len(orjson.dumps(consumer.snapshot())) < 10_000
    return found


def told(emissions: Sequence[Emission]) -> list[tuple[bytes, str, bytes | None]]:
    """What would be written, as the log would have to take it."""
    rows = []
    for emission in emissions:
        fields = emission.decide(NOW)
        head = {"v": 1, "kind": emission.kind.decode(), "at": NOW, "boot": "soc-0-x"}
        rows.append((emission.kind, emission.id, None if fields is None else encode({**head, **fields})))
    return rows


@pytest.mark.parametrize("name", MADE)
@settings(max_examples=200)
@given(history=histories(), stored_at=st.frozensets(st.integers(0, 99), max_size=8))
def test_storing_at_any_point_changes_nothing_and_everything_fits_the_log(
    name: str, history: list[bytes], stored_at: frozenset[int]
) -> None:
    uninterrupted = told(emitted(MADE[name], history, frozenset()))
    assert told(emitted(MADE[name], history, stored_at)) == uninterrupted
    assert all(record is None or len(record) < 4_096 for _, _, record in uninterrupted)


@pytest.mark.parametrize("name", ["refusal_burst", "finding_volume", "unfinished", "rejected"])
@given(history=histories())
def test_no_two_alerts_have_the_same_id(name: str, history: list[bytes]) -> None:
    ids = [(emission.kind, emission.id) for emission in emitted(MADE[name], history, frozenset())]
    lives = [identity for identity in ids if identity[0] == b"process.lost"]
    rest = [identity for identity in ids if identity[0] != b"process.lost"]
    assert len(rest) == len(set(rest))
    assert len(lives) <= len(history)


@given(history=histories(event(alert, principals, st.just("critical"))))
def test_automatic_containment_spares_whom_it_must_and_keeps_its_limit(history: list[bytes]) -> None:
    plain = [record for record in history if NOW <= orjson.loads(record)["at"] < NOW + 10**6]
    emissions = emitted(MADE["containment"], plain, frozenset())
    containments = [emission for emission in emissions if emission.kind == b"containment.applied"]
    targets = [fields["target"] for emission in containments if (fields := emission.decide(NOW)) is not None]
    assert "acme/p0" not in targets
    spans = sorted(orjson.loads(record)["at"] for record in plain)
    windows = (spans[-1] - spans[0]) // 30_000 + 1 if spans else 0
    assert len({emission.id for emission in containments}) <= 2 * windows + 2
