"""Decision logs out of a whole Cordon: to a collector whose taker is killed meanwhile, to a file, and by the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.collector import Collector, collecting
from tests.support.decision_logs import ids, lines
from tests.support.gateway import BUNDLE, Cordon, cordon, wait_for
from tests.support.pages import typed

MASK = 'package system.log\n\nimport rego.v1\n\nmask contains "/input/principal" if input.input.principal\n'
PATHS = ("/crm/customers/1001", "/payments/x", "/crm/customers/1002")


class Delivered(NamedTuple):
    """A Cordon that delivered, the collector that got it, and the calls' ids."""

    running: Cordon
    collector: Collector
    calls: list[str]


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivered]:
    bundle = tmp_path_factory.mktemp("b") / "bundle"
    shutil.copytree(BUNDLE, bundle)
    (bundle / "log.rego").write_text(MASK)
    with collecting() as collector:

        def change(config: dict[str, Any]) -> None:
            config["policy"]["bundle"] = str(bundle)
            config["decision_logs"] = [
                {"id": "siem", "url": collector.url, "resource": "/v1/decisions", "min_delay_seconds": 0.1},
                {"id": "archive", "file": "decisions.jsonl", "min_delay_seconds": 0.1},
            ]

        with cordon(change) as running:
            old = running.processes()["soc-0"]

            # The collector has the events and is about to say so: nobody is there any more to hear it.
            collector.before = lambda: running.kill("soc-0")
            with running.client(running.key("ci-bot")) as client:
                calls = [client.get(path).headers["x-cordon-call"] for path in PATHS]
            running.restarted("soc-0", old)
            wait_for(lambda: {event["custom"]["call"] for event in collector.events} >= set(calls), 60)
            count = len(running.records(0, "call.intent", "call.refused", "call.outcome"))
            wait_for(lambda: collector.ids.count(collector.lost_answers[0]["decision_id"]) == 2, 60)
            wait_for(lambda: len(set(collector.ids)) == count == len(set(ids(file(running)))), 60)
            yield Delivered(running, collector, calls)


def file(running: Cordon) -> list[dict[str, Any]]:
    return lines(running.directory / "decisions.jsonl")


def test_events_come_twice_rather_than_never_and_with_the_same_ids(delivered: Delivered) -> None:
    first = delivered.collector.lost_answers
    assert first
    again = [event for event in delivered.collector.events if event not in first]
    seen = delivered.collector.ids
    assert all(seen.count(event["decision_id"]) == 2 for event in first)
    assert len(again) + 2 * len(first) == len(seen)
    order = list(dict.fromkeys(seen))
    assert order == sorted(order, key=lambda each: int(each.rpartition("-")[2]))


def test_requests_and_answers_are_events_of_their_own_with_the_input_masked(delivered: Delivered) -> None:
    events = {(e["custom"]["call"], e["path"]): e for e in delivered.collector.events}
    served, refused, _ = delivered.calls
    request = events[served, "cordon/request/decision"]
    assert request["result"]["allow"] is True
    assert request["input"]["route"]["id"] == "crm"
    assert "principal" not in request["input"]
    assert request["erased"] == ["/input/principal"]
    assert request["requested_by"] == "acme/ci-bot"
    assert request["bundles"]["cordon"]["revision"] == delivered.running.of_call(served)[0]["policy"]
    answer = events[served, "cordon/response/decision"]
    assert answer["result"]["allow"] is True
    assert answer["input"] and "principal" not in answer["input"] and "erased" not in answer
    denied = events[refused, "cordon/request/decision"]
    assert denied["result"]["allow"] is False and denied["result"]["reasons"]
    assert (refused, "cordon/response/decision") not in events
    assert {path for _, path, _ in delivered.collector.requests} == {"/v1/decisions"}


def test_the_file_and_the_command_line_have_the_same_events(delivered: Delivered, tmp_path: Path) -> None:
    running = delivered.running
    said = running.cli("log", "decisions", "-o", str(tmp_path / "printed"))
    printed = {event["decision_id"]: event for event in lines(tmp_path / "printed")}
    assert said["decisions"] == len(printed) > 4
    assert said["masked"] == 3
    assert {event["decision_id"]: event for event in file(running)} == printed
    assert {event["decision_id"]: event for event in delivered.collector.events} == printed


def test_metrics_and_the_doctor_tell_how_it_goes(delivered: Delivered) -> None:
    running = delivered.running
    found = [each for each in running.cli("doctor")["findings"] if each["check"] == "decision logs"]
    assert [each["level"] for each in found] == ["ok", "ok"]
    wanted = {"cordon_decision_log_delivered_total", "cordon_decision_log_lag_seconds"}

    def told() -> bool:
        snapshot = json.loads((running.data_dir / "run/metrics/soc-0.json").read_text())
        return wanted <= {tally["name"] for tally in snapshot["tallies"]}

    wait_for(told, 60)


def test_the_page_on_decision_logs_does_what_it_says(tmp_path: Path) -> None:
    with typed("docs/decision-logs.md", tmp_path) as printed:
        events = [json.loads(line) for line in printed[0].splitlines() if line.startswith('{"')]
        assert {event["path"] for event in events} >= {"cordon/request/decision", "cordon/response/decision"}
        assert {event["labels"]["environment"] for event in events} == {"lab"}
        assert '"decision_id"' in printed[1]
        masked = [json.loads(line) for line in printed[2].splitlines() if line.startswith('{"')]
        kept = [event["input"] for event in masked if "input" in event]
        assert kept and all("principal" not in each and each["tenant"]["id"] == "hidden" for each in kept)
        assert not [event for event in masked if event["path"] == "cordon/response/decision"]
