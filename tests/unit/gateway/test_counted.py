"""A flood of calls without an identity leaves few records."""

from __future__ import annotations

from gateway.counted import MOST_SOURCES, SINGLE, KnownCallers, UnknownCallers
from gateway.errors import Refusal
from gateway.identity import Principal
from gateway.records import Facts
from lineage.record import encode


def test_calls_are_counted_by_source_and_reason() -> None:
    unknown = UnknownCallers("gateway-0-01J")
    for _ in range(5):
        unknown.count("192.0.2.1", "no_key")
    unknown.count("192.0.2.1", "unknown_key")
    records = [record for record, _ in unknown.drain()]
    assert [(r["source"], r["reason"], r["count"]) for r in records] == [
        ("192.0.2.1", "no_key", 5),
        ("192.0.2.1", "unknown_key", 1),
    ]
    assert all(encode(record) for record in records)
    assert unknown.drain() == []


def test_many_sources_are_counted_together_once_there_are_too_many() -> None:
    unknown = UnknownCallers("gateway-0-01J")
    for number in range(MOST_SOURCES + 500):
        unknown.count(f"192.0.2.{number}", "no_key")
    records = [record for record, _ in unknown.drain()]
    assert len(records) == MOST_SOURCES + 1
    assert records[-1]["source"] == "others"
    assert sum(int(str(record["count"])) for record in records) == MOST_SOURCES + 500


REFUSED = Refusal(403, "decision", "refused", "Policy refused the call.")


def facts(name: str) -> Facts:
    return Facts("gateway-0-01J", "01JCALL", principal=Principal(f"acme/{name}", "acme", (), f"key_{name}"))


def test_a_known_callers_refusals_have_a_record_each_up_to_a_number_and_are_counted_beyond() -> None:
    known = KnownCallers()
    single = [known.is_single(facts("bot"), REFUSED) for _ in range(SINGLE + 30)]
    assert single == [True] * SINGLE + [False] * 30
    assert known.is_single(facts("bot"), Refusal(403, "decision", "policy_failed", ""))
    assert known.is_single(facts("other"), REFUSED)
    ((record, _),) = known.drain()
    assert (record["principal"], record["stage"], record["reason"], record["count"]) == (
        "acme/bot", "decision", "refused", 30,
    )  # fmt: skip
    assert record["status"] == 403
    assert encode(record)
    assert known.drain() == []
    assert known.is_single(facts("bot"), REFUSED)


def test_what_the_log_did_not_take_is_in_the_next_record() -> None:
    unknown = UnknownCallers("gateway-0-01J")
    unknown.count("192.0.2.1", "no_key")
    unknown.count("192.0.2.2", "no_key")
    (first, give_back), (_, other) = unknown.drain()
    unknown.count("192.0.2.1", "no_key")
    give_back()
    other()
    records = [record for record, _ in unknown.drain()]
    assert {(r["source"], r["count"]) for r in records} == {("192.0.2.1", 2), ("192.0.2.2", 1)}
    assert all(int(str(r["interval_ms"])) >= int(str(first["interval_ms"])) for r in records)
    assert unknown.drain() == []


def test_what_is_given_back_again_and_again_stays_bounded() -> None:
    unknown = UnknownCallers("gateway-0-01J")
    for turn in range(3):
        for number in range(MOST_SOURCES):
            unknown.count(f"192.0.{turn}.{number}", "no_key")
        drained = unknown.drain()
        assert len(drained) <= MOST_SOURCES + 1
        for _, give_back in drained:
            give_back()
    assert sum(int(str(record["count"])) for record, _ in unknown.drain()) == 3 * MOST_SOURCES


def test_a_known_callers_sum_that_the_log_did_not_take_is_in_the_next_record() -> None:
    known = KnownCallers()
    for _ in range(SINGLE + 30):
        known.is_single(facts("bot"), REFUSED)
    ((_, give_back),) = known.drain()
    give_back()
    assert known.is_single(facts("bot"), REFUSED), "the next interval has records of its own again"
    for _ in range(SINGLE + 4):
        known.is_single(facts("bot"), REFUSED)
    ((record, give_back),) = known.drain()
    assert record["count"] == 35
    give_back()
    ((record, _),) = known.drain()
    assert record["count"] == 35
    assert known.drain() == []
