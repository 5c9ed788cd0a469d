"""What shadows counted is added up exactly, however much there is, and each record once."""

from __future__ import annotations

from typing import Any

from lineage.reader import LogReader
from lineage.rollouts import Rollout
from lineage.store import SEARCH_LIMIT
from policies.shadow_counts import ShadowCounts, shadow_counts
from tests.support.records import record
from tests.support.written import extend, written


def rollout(name: str) -> Rollout:
    return Rollout(name, "d", "r", "", "shadow", 0, (), "a", "", "", "", 1)


def proposed(name: str = "one") -> bytes:
    return record("policy.proposed", 1, facts={"rollout": name, "digest": "00" * 32, "revision": "r", "by": "a"})


def shadow(number: int, name: str = "one") -> bytes:
    each = {"kind": "refused", "count": 1, "rules": [{"rule": "x", "count": 1}], "calls": [f"C{number}"]}
    facts = {"rollout": name, "scope": "", "revision": "r", "compared": 3, "skipped": 1, "differences": [each]}
    return record("policy.shadow", 1, facts=facts)


def counted(reader: LogReader, look_back: int | None = None) -> Any:
    return ShadowCounts(reader, look_back).of([rollout("one")])["one"]


def test_no_record_is_left_out_where_many_lie_together() -> None:
    count = 2 * SEARCH_LIMIT + 7
    with written([proposed(), *map(shadow, range(count)), shadow(0, "other")]) as log:
        found = shadow_counts(log.reader, [rollout("one"), rollout("none")])
    assert list(found) == ["one"]
    one = found["one"]
    assert (one.compared, one.skipped, one.kinds, one.partial) == (3 * count, count, {"refused": count}, False)
    assert one.rules == {"refused": {"x": count}}
    assert one.calls == {"refused": [f"C{number}" for number in range(count - 1, count - 11, -1)]}


def test_each_look_goes_on_where_the_last_one_ended() -> None:
    with written([proposed(), shadow(1)]) as log:
        counts = ShadowCounts(log.reader)
        assert counts.of([]) == {}
        first = counts.of([rollout("one")])["one"]
        assert (first.compared, counts.of([rollout("one")])["one"].compared) == (3, 3)
        extend(log.data_dir, [shadow(2), shadow(3)])
        later = counts.of([rollout("one")])["one"]
        assert (later.compared, later.calls, first.compared) == (9, {"refused": ["C3", "C2", "C1"]}, 3)
        assert later == counted(log.reader)


def test_a_roll_out_of_which_not_all_was_read_says_so() -> None:
    with written([proposed(), shadow(1), shadow(2), proposed("two"), shadow(3, "two")]) as log:
        found = ShadowCounts(log.reader, 3).of([rollout("one"), rollout("two")])
    assert (found["one"].compared, found["one"].partial, str(found["one"])) == (3, True, "1 refused of 3+")
    assert (found["two"].compared, found["two"].partial) == (3, False)
