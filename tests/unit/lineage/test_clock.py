"""Time limits under a wall clock that is set: containments last their length, what has expired stays expired."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage import clock
from lineage.clock import Terms, latest
from lineage.control import Containment, ControlState

NOW = 1_700_000_000_000
JUMPS = st.integers(-(10**10), 10**10)


class Clocks:
    def __init__(self) -> None:
        self.passed = self.off = 0

    def running(self) -> int:
        return 1_000 + self.passed

    def wall(self) -> int:
        return NOW + self.passed + self.off


def state(*containments: Containment) -> ControlState:
    return ControlState(1, {held.id: held for held in containments})


def contained(name: str, since: int, seconds: int) -> Containment:
    return Containment(name, "principal", "acme/bot", "probing", "alice", since, since + seconds * 1_000)


@given(jumps=st.lists(JUMPS, max_size=5), seconds=st.integers(1, 1_000))
def test_a_containment_lasts_its_length_however_the_clock_jumps(jumps: list[int], seconds: int) -> None:
    clocks = Clocks()
    held = contained("c1", NOW, seconds)
    terms = Terms(state(), clocks.wall, clocks.running)
    terms.take_up(state(held))
    for jump in [*jumps, 0]:
        clocks.off += jump
        terms.take_up(state(held, contained(f"other{jump}", clocks.wall(), 5)))
        assert terms.in_force(held) and "c1" not in terms.over()
    clocks.passed += seconds * 1_000 - 1
    assert terms.in_force(held)
    clocks.passed += 1
    assert not terms.in_force(held) and "c1" in terms.over()


def test_at_the_beginning_the_rest_counts_but_never_more_than_the_whole() -> None:
    clocks = Clocks()
    half, future, past = contained("c1", NOW - 30_000, 60), contained("c2", NOW + 10**9, 60), contained("c3", 0, 60)
    terms = Terms(state(half, future, past), clocks.wall, clocks.running)
    assert terms.over() == ["c3"]
    clocks.passed += 30_000
    assert terms.over() == ["c1", "c3"]
    clocks.passed += 30_000
    assert terms.over() == ["c1", "c2", "c3"]


def test_what_another_machine_applies_with_its_clock_behind_is_in_force_its_whole_length() -> None:
    clocks = Clocks()
    terms = Terms(state(), clocks.wall, clocks.running)
    held = contained("c1", NOW - 3_600_000, 60)
    terms.take_up(state(held))
    clocks.passed += 59_999
    assert terms.in_force(held)


def test_a_containment_that_is_loaded_again_or_applied_anew_under_its_id() -> None:
    clocks = Clocks()
    terms = Terms(state(contained("c1", NOW, 60)), clocks.wall, clocks.running)
    clocks.passed += 30_000
    terms.take_up(state(contained("c1", NOW, 60)))  # equal, as after a new connection to the writer
    clocks.passed += 30_000
    assert terms.over() == ["c1"]
    again = contained("c1", NOW + 60_000, 60)
    terms.take_up(state(again))
    assert terms.in_force(again)


def test_the_clock_of_expiry_goes_on_where_the_wall_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = latest()
    true = time.time_ns
    for hours, ahead in ((-1, False), (1, True)):
        monkeypatch.setattr(clock.time, "time_ns", lambda hours=hours: true() + hours * 3_600 * 10**9)
        found = latest()
        assert found >= before - 50
        assert (found > before + 3_000_000) is ahead
