"""From the log to events: inputs as far as they were kept, masked, in order, and in bounded pieces."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from lineage.keys import load_master_key
from lineage.side import TenantKeys
from lineage.side_place import SidePlace
from siem.decision_logs import source as module
from siem.decision_logs.running import open_source
from tests.support import records
from tests.support.decision_logs import LONG_AGO, World
from tests.support.policies import MINIMAL

MASKS = MINIMAL | {
    "log.rego": "package system.log\n\nimport rego.v1\n\n"
    'mask contains "/input/tenant" if input.input.tenant\n\ndrop if input.input.call.method == "GET"\n'
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, MASKS)
    yield made
    made.close()


def test_inputs_are_there_masked_and_labels_say_who_decided(world: World) -> None:
    world.decide({"tenant": {"id": "acme"}, "call": {"method": "POST"}})
    (event,) = world.events()
    assert event["input"] == {"call": {"method": "POST"}}
    assert event["erased"] == ["/input/tenant"]
    assert event["labels"]["id"] == "cordon.test"
    assert event["labels"]["version"]


def test_what_the_bundle_drops_is_counted_and_passed_over(world: World) -> None:
    world.decide({"call": {"method": "GET"}}, count=3)
    kept = world.decide({"call": {"method": "POST"}})
    batch = world.batch()
    assert (batch.dropped, batch.masked, batch.next) == (3, 0, 4)
    assert [orjson.loads(entry.line)["decision_id"] for entry in batch.entries] == kept


def test_an_input_that_was_not_kept_is_gone_or_erased_is_said_to_be(world: World) -> None:
    world.decide()
    world.log.put(records.intent(LONG_AGO, side="ab" * 32))
    world.decide({"call": {"method": "POST"}})
    with closing(SidePlace(world.data_dir).side()) as side:
        keys = TenantKeys(side, load_master_key(world.data_dir))
        keys.erase("acme")
        keys.close()
    for event in world.events():
        assert "input" not in event
        assert event["erased"] == ["/input"]


def test_an_answer_has_the_input_of_its_last_decision_where_that_was_kept(world: World) -> None:
    world.log.put(records.outcome(LONG_AGO, 0, side=world.keep({"phase": "answer_end"})))
    world.log.put(records.outcome(LONG_AGO, 0))
    kept, bare = world.events()
    assert (kept["input"], "erased" in kept) == ({"phase": "answer_end"}, False)
    assert ("input" in bare, bare["erased"]) == (False, ["/input"])


def test_an_input_that_may_still_come_is_waited_for_in_its_place(world: World) -> None:
    world.decide(None)
    now = time.time_ns() // 1_000_000
    world.log.put(records.intent(now, side="ab" * 32))
    world.decide(None)
    batch = world.batch()
    assert (len(batch.entries), batch.next, batch.more) == (1, 1, False)
    assert len(world.batch(patient=False).entries) == 3
    world.log.put(records.intent(now - module.PATIENCE_MS - 1, side="ab" * 32))
    assert len(world.batch(2).entries) == 2


def test_a_batch_is_bounded_by_records_and_by_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORDS", 10)
    world.decide({"text": "x" * 1_000}, count=25)
    with closing(open_source(world.data_dir, "", world.policy)) as source:
        batches = [source.batch(start) for start in (0, 10, 20)]
        assert [(len(batch.entries), batch.next, batch.more) for batch in batches] == [
            (10, 10, True), (10, 20, True), (5, 25, False),
        ]  # fmt: skip
        monkeypatch.setattr(module, "BYTES", 3_000)
        batch = source.batch(0)
        assert (len(batch.entries), batch.next, batch.more) == (3, 3, True)


def test_records_that_are_no_decisions_are_passed_over(world: World) -> None:
    world.log.put(*(records.record("process.started", LONG_AGO, facts={"role": "gateway"}) for _ in range(5)))
    batch = world.batch()
    assert (batch.entries, batch.next, batch.oldest) == ([], 5, 0)


def test_an_input_nested_too_deeply_to_be_written_goes_without(world: World) -> None:
    deep: object = {}
    for _ in range(250):
        deep = {"a": deep}
    world.decide(deep)
    (event,) = world.events()
    assert event["erased"] == ["/input", "/result"]
