"""Who is isolated at a moment."""

from __future__ import annotations

from gateway.containment import Isolation
from lineage.control import Containment, ControlState

NOW = 1_700_000_000_000


def state(*containments: Containment) -> ControlState:
    return ControlState(1, {c.id: c for c in containments})


def contained(name: str, target_type: str, target: str, until: int) -> Containment:
    return Containment(name, target_type, target, "probing", "alice", NOW - 1000, until)


def test_a_target_is_isolated_until_its_time_is_over_and_not_a_moment_longer() -> None:
    isolation = Isolation(state(contained("c1", "principal", "acme/bot", NOW + 10)))
    assert isolation.principal("acme/bot", NOW) is not None
    assert isolation.principal("acme/bot", NOW + 10) is None


def test_the_longer_of_two_containments_of_one_target_counts() -> None:
    isolation = Isolation(
        state(contained("c1", "endpoint", "eu", NOW - 1), contained("c2", "endpoint", "eu", NOW + 10))
    )
    found = isolation.endpoint("eu", NOW)
    assert found is not None
    assert found.id == "c2"


def test_principals_and_endpoints_of_the_same_name_are_not_confused() -> None:
    isolation = Isolation(state(contained("c1", "endpoint", "acme", NOW + 10)))
    assert isolation.principal("acme", NOW) is None
    assert Isolation(ControlState()).endpoint("acme", NOW) is None
