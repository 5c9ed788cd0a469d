"""Promises of the first playbook: limited, owned, explained, never twice, never too many, nor against a release."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine

from detectors.alert import Alert
from detectors.follower import Follower
from detectors.outbox import Outbox
from detectors.refusal_burst import RefusalBurst
from detectors.settings import Contain, Detection
from detectors.settings import RefusalBurst as BurstSettings
from lineage.actions import Stamp, apply_containment, release_containment
from lineage.control import ControlState
from lineage.metrics import Meter
from lineage.record import encode
from playbooks.containment import Containing
from tests.support import records
from tests.support.followed import StoreLog
from tests.support.states import NewPlace

NOW = 1_800_000_000_000


def alert_record(subject: str = "acme/bot", at: int = NOW, **changes: Any) -> bytes:
    facts: dict[str, Any] = {"detector": "refusal_burst", "severity": "high", "tenant": "acme"}
    facts |= {"subject_type": "principal", "subject": subject, "summary": "20 calls were refused within 3 s"}
    facts |= {"evidence": (7,), "count": 20, "since": at - 3000, "until": at} | changes
    emission = Alert(**facts).emission()
    fields = emission.decide(at)
    assert fields is not None
    return records.record("alert.raised", at, facts=fields)


class Acting:
    """The playbook by itself: alerts go in, records come out."""

    def __init__(self, **settings: Any) -> None:
        self.control = ControlState()
        self.playbook = Containing(Contain(**settings), lambda: self.control)
        self.index = 0

    def show(self, record: bytes) -> None:
        self.playbook.observe(self.index, orjson.loads(record)["kind"].encode(), record)
        self.index += 1

    def alert(self, record: bytes, now: int | None = None) -> list[dict[str, Any]]:
        written = []
        for emission in self.playbook.observe(self.index, b"alert.raised", record):
            fields = emission.decide(now if now is not None else orjson.loads(record)["at"])
            if fields is not None:
                written.append({"kind": emission.kind.decode(), "at": NOW, **fields})
        self.index += 1
        for facts in written:
            self.control = self.control.fold(facts, self.index)
        return written


def test_a_grave_alert_contains_its_subject_with_owner_reason_limit_and_the_alert() -> None:
    (applied,) = Acting(seconds=600).alert(alert_record())
    assert applied["kind"] == "containment.applied"
    assert (applied["target_type"], applied["target"], applied["tenant"]) == ("principal", "acme/bot", "acme")
    assert applied["owner"] == "detector:refusal_burst"
    assert applied["reason"] == "20 calls were refused within 3 s"
    assert applied["until"] == NOW + 600_000
    assert applied["alert"] == orjson.loads(alert_record())["alert"]
    encode({"v": 1, "boot": "soc", **applied})


def test_an_endpoint_can_be_contained() -> None:
    (applied,) = Acting().alert(alert_record("openai-eu", subject_type="endpoint", detector="finding_volume"))
    assert (applied["target_type"], applied["target"]) == ("endpoint", "openai-eu")
    assert "tenant" not in applied


@pytest.mark.parametrize(
    ("settings", "alert"),
    [
        ({}, {"severity": "medium"}),
        ({"severity": "critical"}, {"severity": "high"}),
        ({"enabled": False}, {"severity": "critical"}),
        ({}, {"severity": "critical", "subject_type": "gateway", "subject": "gateway-0"}),
        ({"spare": ["acme/bot"]}, {"severity": "critical"}),
        ({"most": 0}, {"subject": "no slash in it", "severity": "low"}),
    ],
)
def test_what_is_not_grave_enough_spared_or_turned_off_is_left_alone(settings: Any, alert: Any) -> None:
    assert Acting(**settings).alert(alert_record(**alert)) == []


def test_a_subject_that_no_record_can_name_is_not_contained_and_breaks_nothing() -> None:
    acting = Acting()
    assert acting.alert(alert_record("nobody")) == []
    assert len(acting.alert(alert_record("acme/bot"))) == 1


def test_a_subject_is_never_contained_twice_at_once() -> None:
    acting = Acting()
    assert len(acting.alert(alert_record())) == 1
    assert acting.alert(alert_record(evidence=(99,))) == []


def test_a_containment_by_a_person_is_enough() -> None:
    acting = Acting()
    by_hand = apply_containment(
        Stamp(NOW, "cli"), target_type="principal", target="acme/bot", reason="looks odd", owner="alice", seconds=60
    )
    acting.control = acting.control.fold(by_hand, 0)
    acting.show(encode(by_hand))
    assert acting.alert(alert_record(), now=NOW + 1) == []
    assert len(acting.alert(alert_record(evidence=(99,)), now=NOW + 60_001)) == 1, "once that one has run out"


def test_evidence_older_than_the_containment_would_last_is_too_late() -> None:
    assert Acting(seconds=60).alert(alert_record(), now=NOW + 60_001) == []
    assert len(Acting(seconds=60).alert(alert_record(), now=NOW + 60_000)) == 1


def test_the_same_alert_gives_the_same_containment_and_another_one_another() -> None:
    (one,), (same,), (other,) = (Acting().alert(alert_record(evidence=(n,))) for n in (7, 7, 8))
    assert one["containment"] == same["containment"] != other["containment"]


def test_no_more_than_so_many_are_contained_within_a_window_then_there_is_one_alert() -> None:
    acting = Acting(most=3, window_seconds=60)
    results = [acting.alert(alert_record(f"acme/bot{n}", at=NOW + n * 1000)) for n in range(6)]
    kinds = [[record["kind"] for record in written] for written in results]
    assert kinds == [["containment.applied"]] * 3 + [["alert.raised"], [], []]
    (limit,) = results[3]
    assert limit["severity"] == "critical" and limit["subject_type"] == "gateway"
    assert acting.alert(alert_record("acme/late", at=NOW + 70_000))[0]["kind"] == "containment.applied"


def test_the_limit_holds_across_a_restart_and_counts_no_containment_twice() -> None:
    before = Acting(most=3, window_seconds=60)
    for n in range(2):
        (applied,) = before.alert(alert_record(f"acme/bot{n}"))
        before.show(encode({"v": 1, "boot": "soc", **applied}))
    after = Acting(most=3, window_seconds=60)
    after.playbook.restore(orjson.loads(orjson.dumps(before.playbook.snapshot())))
    assert after.alert(alert_record("acme/bot2"))[0]["kind"] == "containment.applied"
    assert after.alert(alert_record("acme/bot3"))[0]["kind"] == "alert.raised"


def test_containments_by_people_do_not_use_up_the_limit() -> None:
    acting = Acting(most=1, window_seconds=60)
    for n in range(5):
        by_hand = apply_containment(
            Stamp(NOW, "cli"), target_type="principal", target=f"acme/x{n}", reason="drill", owner="alice", seconds=60
        )
        acting.show(encode(by_hand))
    assert acting.alert(alert_record())[0]["kind"] == "containment.applied"


class Loop:
    """Log, detector and playbook together, followed as the SOC process does it."""

    def __init__(self, path: Path, new_state: NewPlace) -> None:
        self.log = StoreLog(path / "log.db")
        self.state: Engine = new_state().open()
        self.burst = BurstSettings(threshold=3, quiet_seconds=0)

    async def settle(self) -> None:
        stop, ready, awake = asyncio.Event(), asyncio.Event(), asyncio.Event()
        consumers = (RefusalBurst(self.burst), Containing(Contain(), lambda: self.log.control))
        settings = Detection(cursor_seconds=0.001)
        meter = Meter("soc-0")
        outbox = Outbox(self.log, "soc-1", meter)
        follower = Follower(self.log.store, self.state, outbox, consumers, settings, awake, meter)
        self.log.on_append = awake.set
        running = asyncio.create_task(follower.run(stop, ready.set))
        async with asyncio.timeout(5):
            await ready.wait()
            while follower.position < self.log.store.size():
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.05)
        stop.set()
        await running

    def refuse(self, count: int, stage: str = "decision") -> None:
        now = Stamp.now("gateway-0").at
        self.log.put(*[records.refused(now, stage=stage) for _ in range(count)])

    def release(self) -> None:
        (containment,) = self.log.control.containments
        stamp, known = Stamp.now("cli"), self.log.control.containments
        self.log.put(
            encode(release_containment(stamp, containment=containment, by="alice", reason="drill", known=known))
        )

    def kinds(self) -> list[object]:
        return [record["kind"] for record in self.log.records() if record["kind"] != "call.refused"]


def test_what_a_person_released_is_not_contained_again_from_the_same_evidence(
    tmp_path: Path, new_state: NewPlace
) -> None:
    loop = Loop(tmp_path, new_state)
    loop.refuse(3)
    asyncio.run(loop.settle())
    loop.release()
    loop.refuse(2)
    asyncio.run(loop.settle())
    assert loop.kinds() == ["alert.raised", "containment.applied", "containment.released"]
    loop.refuse(1)
    asyncio.run(loop.settle())
    assert loop.kinds()[3:] == ["alert.raised", "containment.applied"], "three new refusals are new evidence"


def test_a_release_outlasts_a_crash_that_lost_the_place_in_the_log(tmp_path: Path, new_state: NewPlace) -> None:
    loop = Loop(tmp_path, new_state)
    loop.refuse(3)
    asyncio.run(loop.settle())
    loop.release()
    loop.state = new_state().open()
    asyncio.run(loop.settle())
    assert loop.kinds() == ["alert.raised", "containment.applied", "containment.released"]
    assert not loop.log.control.containments


def test_what_containment_refuses_never_prolongs_it(tmp_path: Path, new_state: NewPlace) -> None:
    loop = Loop(tmp_path, new_state)
    loop.refuse(3)
    asyncio.run(loop.settle())
    loop.refuse(100, stage="containment")
    asyncio.run(loop.settle())
    assert loop.kinds() == ["alert.raised", "containment.applied"]
