"""Which calls a canary decides can be worked out from the log, and nobody chooses theirs."""

from __future__ import annotations

import hashlib
from collections import Counter

from lineage.record import new_call_id
from policies.canary import decides, place_of
from tests.support.rollouts import rollout


def test_an_auditor_comes_to_the_same_place() -> None:
    digest = hashlib.sha256(b"rollout_1 01J00000000000000000000000").hexdigest()
    assert place_of("rollout_1", "01J00000000000000000000000") == int(digest[:16], 16) % 1_000


def test_a_share_is_a_share_of_all_calls_whoever_makes_them() -> None:
    canary = rollout(stage="canary", share=100)
    taken = sum(decides(canary, "acme", new_call_id()) for _ in range(20_000))
    assert 1_700 < taken < 2_300  # 42 is one standard deviation


def test_places_are_spread_evenly_and_otherwise_in_each_roll_out() -> None:
    calls = [new_call_id() for _ in range(20_000)]
    tenths = Counter(place_of("a", call) // 100 for call in calls)
    assert len(tenths) == 10
    assert all(1_700 < count < 2_300 for count in tenths.values())
    assert 1 <= sum(place_of("a", call) == place_of("b", call) for call in calls) < 60


def test_none_and_all() -> None:
    calls = [new_call_id() for _ in range(2_000)]
    assert not any(decides(rollout(stage="canary", share=0), "acme", call) for call in calls)
    assert all(decides(rollout(stage="canary", share=1_000), "acme", call) for call in calls)


def test_listed_tenants_are_all_of_it() -> None:
    canary = rollout(stage="canary", share=1_000, tenants=("acme",))
    assert decides(canary, "acme", "c")
    assert not decides(canary, "globex", "c")
