"""The cache of decisions: never another's value, never more than its limit, and what is used stays."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lineage.metrics import Meter
from policies.cache import REGULARS, Cache, Tallies


def filled(limit: int, keys: int, size: int = 10) -> Cache[int]:
    cache: Cache[int] = Cache(limit)
    for number in range(keys):
        cache.put(b"%d" % number, number, size)
    return cache


def test_what_was_put_is_found_by_exactly_its_key() -> None:
    cache = filled(1_000, 3)
    assert [cache.get(b"%d" % number) for number in range(4)] == [0, 1, 2, None]


def test_the_oldest_goes_first() -> None:
    cache = filled(30, 4)
    assert [cache.get(b"%d" % number) for number in range(4)] == [None, 1, 2, 3]


def test_what_is_asked_for_again_outlasts_a_flood() -> None:
    cache = filled(100, 5)
    assert [cache.get(b"%d" % number) for number in range(5)] == [0, 1, 2, 3, 4]
    for number in range(1_000, 2_000):
        assert cache.get(b"%d" % number) is None
        cache.put(b"%d" % number, number, 10)
    assert [cache.get(b"%d" % number) for number in range(5)] == [0, 1, 2, 3, 4]
    assert len(cache) == 10


def test_regulars_that_are_not_asked_for_any_more_make_room() -> None:
    cache = filled(100, 5)
    for number in range(5):
        cache.get(b"%d" % number)
    for number in range(10, 30):
        cache.put(b"%d" % number, number, 10)
        assert cache.get(b"%d" % number) == number
    assert [cache.get(b"%d" % number) for number in range(5)] == [None] * 5


def test_what_is_too_large_is_not_kept_and_pushes_nothing_out() -> None:
    cache = filled(100, 10)
    cache.put(b"large", 0, 101)
    assert cache.get(b"large") is None
    assert len(cache) == 10


def test_a_key_that_is_there_is_counted_once() -> None:
    cache = filled(100, 1)
    cache.put(b"0", 7, 10)
    cache.get(b"0")
    cache.put(b"0", 8, 10)
    assert (cache.get(b"0"), cache.held, len(cache)) == (0, 10, 1)


def test_closed_it_is_empty_for_good_and_its_tallies_are_what_others_hold() -> None:
    meter = Meter("w")
    one, other = (Cache[int](100, Tallies.of(meter, "request")) for _ in range(2))
    for cache in (one, other):
        for number in range(12):
            cache.put(b"%d" % number, number, 10)
    one.get(b"5")
    one.close()
    one.put(b"x", 1, 10)
    assert one.get(b"x") is None
    assert (len(one), one.held) == (0, 0)
    assert meter.gauge("cordon_policy_cache_entries", "request").value == len(other) == 10
    assert meter.gauge("cordon_policy_cache_bytes", "request").value == other.held == 100
    assert meter.counter("cordon_policy_cache_evictions_total", "request").value == 4


class CacheMachine(RuleBasedStateMachine):
    """Against a dictionary that forgets nothing: a hit is its value, and the sizes add up."""

    def __init__(self) -> None:
        super().__init__()
        self.meter = Meter("w")
        self.cache: Cache[int] = Cache(100, Tallies.of(self.meter, "request"))
        self.all: dict[bytes, tuple[int, int]] = {}

    @rule(key=st.integers(0, 15), value=st.integers(), size=st.integers(1, 120))
    def put(self, key: int, value: int, size: int) -> None:
        name = b"%d" % key
        if self.cache.get(name) is None:
            self.cache.put(name, value, size)
            self.all[name] = (value, size)

    @rule(key=st.integers(0, 15))
    def get(self, key: int) -> None:
        name = b"%d" % key
        found = self.cache.get(name)
        if found is not None:
            assert found == self.all[name][0]
            assert self.cache.get(name) == found

    @invariant()
    def the_sizes_add_up(self) -> None:
        regulars, probation = self.cache._regulars, self.cache._probation
        assert not regulars.keys() & probation.keys()
        held = {name: size for name, (_, size) in [*regulars.items(), *probation.items()]}
        assert all(size == self.all[name][1] for name, size in held.items())
        assert self.cache.held == sum(held.values()) <= 100
        assert self.cache._regular_bytes == sum(size for _, size in regulars.values()) <= 100 * REGULARS
        assert self.meter.gauge("cordon_policy_cache_entries", "request").value == len(held)
        assert self.meter.gauge("cordon_policy_cache_bytes", "request").value == self.cache.held


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(deadline=None, max_examples=40, stateful_step_count=40)
