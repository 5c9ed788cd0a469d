"""Who is isolated at a moment."""

from __future__ import annotations

from gateway.containment import Isolation
from lineage.clock import Terms
from lineage.control import Containment, ControlState

NOW = 1_700_000_000_000


class Clock:
    """The clock that only runs, and a wall clock that is in step with it."""

    def __init__(self) -> None:
        self.now = 50_000

    def running(self) -> int:
        return self.now

    def wall(self) -> int:
        return NOW - 50_000 + self.now


def contained(name: str, target_type: str, target: str, until: int) -> Containment:
    return Containment(name, target_type, target, "probing", "alice", NOW - 1000, until)


def isolated(*containments: Containment) -> tuple[Clock, Isolation]:
    clock, state = Clock(), ControlState(1, {c.id: c for c in containments})
    return clock, Isolation(state, Terms(state, clock.wall, clock.running))


def test_a_target_is_isolated_until_its_time_is_over_and_not_a_moment_longer() -> None:
    clock, isolation = isolated(contained("c1", "principal", "acme/bot", NOW + 10))
    clock.now += 9
    assert isolation.principal("acme/bot") is not None
    clock.now += 1
    assert isolation.principal("acme/bot") is None


def test_the_longer_of_two_containments_of_one_target_counts() -> None:
    _, isolation = isolated(contained("c1", "endpoint", "eu", NOW - 1), contained("c2", "endpoint", "eu", NOW + 10))
    found = isolation.endpoint("eu")
    assert found is not None
    assert found.id == "c2"


def test_principals_and_endpoints_of_the_same_name_are_not_confused() -> None:
    _, isolation = isolated(contained("c1", "endpoint", "acme", NOW + 10))
    assert isolation.principal("acme") is None
    assert isolated()[1].endpoint("acme") is None
