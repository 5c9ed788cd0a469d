"""Looking back through the log: bounded, in order, and not led astray by what callers wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import records
from gateway.identity import Principal
from lineage.errors import RecordError
from lineage.local import open_log
from lineage.record import encode, new_call_id
from lineage.settings import Lineage
from siem.console.calls import Filter, newest, reasons_of, records_of

BOT = Principal("acme/ci-bot", "acme", (), "key-1")
SENT = {"digest": "00", "bytes": 1}


class Log:
    """A real log that this test writes itself."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.reader = log.reader

    def add(self, record: dict[str, object]) -> int:
        return int(self._log.append(encode(record)))

    def facts(self, **changes: Any) -> records.Facts:
        return records.Facts(**({"boot": "g", "call": new_call_id(), "route": "r", "principal": BOT} | changes))

    def intent(self, facts: records.Facts, attempt: int = 1) -> int:
        return self.add(records.intent(facts, attempt, "e", "", SENT, ""))

    def outcome(
        self, facts: records.Facts, intent: int, *, attempt: int = 1, final: bool = True, **changes: Any
    ) -> int:
        usual = {"status": 200, "verdict": "allowed", "received": SENT, "findings": {}, "redacted": {}, "reasons": ()}
        usual |= {"model": "", "milliseconds": 1, "final": final}
        return self.add(records.outcome(facts, attempt, "e", intent, **(usual | changes)))

    def call(self, **changes: Any) -> str:
        facts = self.facts(**changes)
        self.outcome(facts, self.intent(facts))
        return facts.call

    def refused(self, **changes: Any) -> int:
        return self.add(records.refused(self.facts(**changes), "decision", 403, [{"code": "x", "detail": "Because."}]))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with open_log(tmp_path, Lineage()) as opened:
        yield Log(opened)


def page(log: Log, wanted: Filter = Filter(), **options: Any):  # noqa: B008
    return newest(log.reader, wanted, **({"before": None, "limit": 50, "scan": 1_000} | options))


def test_an_empty_log_has_no_calls(log):
    assert page(log).calls == []
    assert page(log).before is None


def test_a_call_in_flight_is_not_listed_until_it_ends(log):
    facts = log.facts()
    intent = log.intent(facts)
    assert page(log).calls == []
    log.outcome(facts, intent)
    assert [call.call for call in page(log).calls] == [facts.call]


def test_a_call_of_several_attempts_is_listed_once_with_its_last(log):
    facts = log.facts()
    first = log.intent(facts)
    log.outcome(facts, first, final=False, status=503, verdict="failed")
    second = log.intent(facts, attempt=2)
    last = log.outcome(facts, second, attempt=2)
    assert [(call.index, call.status, call.verdict) for call in page(log).calls] == [(last, 200, "allowed")]
    assert [index for index, _ in records_of(log.reader, facts.call)] == [0, 1, 2, 3]


def test_what_was_found_on_the_way_in_and_out_is_added_up(log):
    facts = log.facts(findings={"email": 2}, redacted={"email": "mask"})
    log.outcome(facts, log.intent(facts), findings={"email": 1, "iban": 1}, redacted={"iban": "drop"})
    call = page(log).calls[0]
    assert call.findings == {"email": 3, "iban": 1}
    assert call.redacted == {"email": "mask", "iban": "drop"}


def test_a_page_looks_through_no_more_records_than_it_may_and_says_where_to_go_on(log):
    wanted = log.call(route="rare")
    for _ in range(40):
        log.refused()
    first = page(log, Filter(route="rare"), scan=30)
    assert (first.calls, first.before) == ([], 12)
    second = page(log, Filter(route="rare"), scan=30, before=first.before)
    assert ([call.call for call in second.calls], second.before) == ([wanted], None)


@pytest.mark.parametrize("before", [0, 1, 10_000, -5])
def test_any_place_to_go_on_from_is_taken(log, before):
    log.refused()
    assert len(page(log, before=before).calls) == (1 if before > 0 else 0)


def test_words_of_other_records_in_a_path_do_not_make_a_call_of_them(log):
    hostile = '/","kind":"call.outcome","final":true,"call":"'
    index = log.refused(path=hostile, route='"kind":"call.intent"')
    found = page(log).calls
    assert [(call.index, call.verdict, call.path) for call in found] == [(index, "refused", hostile)]


def test_an_outcome_that_points_to_another_calls_intent_does_not_borrow_from_it(log):
    other = log.facts(path="/secret", method="POST")
    intent = log.intent(other)
    facts = log.facts()
    log.outcome(facts, intent)
    log.outcome(log.facts(), 999)
    log.outcome(log.facts(), -1)
    assert [(call.path, call.method) for call in page(log).calls] == [("", "")] * 3


def test_a_call_is_found_among_many_by_its_id_and_an_unknown_one_is_not(log):
    calls = [log.call() for _ in range(300)]
    for call in (calls[0], calls[150], calls[-1]):
        assert [record["kind"] for _, record in records_of(log.reader, call)] == ["call.intent", "call.outcome"]
    assert records_of(log.reader, new_call_id()) == []
    assert records_of(log.reader, "0" * 26) == []
    assert records_of(log.reader, "Z" * 26) == []


@pytest.mark.parametrize("call", ["", "x", '","kind":"', "0" * 25, "o" * 26, "0" * 5_000])
def test_what_is_no_call_id_is_refused_before_anything_is_searched(log, call):
    with pytest.raises(RecordError):
        records_of(log.reader, call)


def test_one_call_gives_no_more_records_than_its_bound(log):
    facts = log.facts()
    for attempt in range(1, 20):
        log.intent(facts, attempt)
    assert len(records_of(log.reader, facts.call, limit=7)) == 7


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"reasons": [{"code": "c", "detail": "d"}]}, ("d",)),
        ({"reasons": [{"code": "c"}]}, ("c",)),
        ({"reasons": [{"rule": "r"}]}, ("r",)),
        ({"reasons": ["plain"]}, ("plain",)),
        ({"reasons": [{}]}, ("",)),
        ({"reason": "unknown_key", "source": "::1"}, ("unknown_key from ::1",)),
        ({"reason": "contained"}, ("contained",)),
        ({}, ()),
    ],
)
def test_reasons_are_told_in_words(record, told):
    assert reasons_of(record) == told


def test_refusals_of_a_known_caller_that_were_only_counted_are_one_line(log: Log) -> None:
    log.add(records.refused_known(log.facts(), "containment", 403, "contained", 7, 10_000))
    (call,) = page(log, Filter(principal="acme/ci-bot")).calls
    assert (call.verdict, call.status, call.stage, call.count) == ("refused", 403, "containment", 7)
    assert call.reasons == ("contained",)
