"""What is read of an input: paths that stand for what is below them, and documents narrowed to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.reads import Reads, covers, narrow, shows, touches, tree

STEPS = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(STEPS, min_size=1, max_size=4).map(".".join)
VALUES = st.recursive(
    st.integers(0, 9) | st.just("x"),
    lambda below: st.dictionaries(STEPS, below, max_size=3) | st.lists(below, max_size=2),
    max_leaves=12,
)


def at(value: object, path: str) -> object:
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value


@pytest.mark.parametrize(
    ("reads", "part", "shown", "touched"),
    [
        (None, "a", True, True),
        ({"a"}, "a.b", True, True),
        ({"a.b"}, "a.b", True, True),
        ({"a.b"}, "a", False, True),
        ({"a.b"}, "a.bc", False, False),
        ({"ab"}, "a", False, False),
        (set(), "a", False, False),
    ],
)
def test_a_path_stands_for_what_is_below_it(reads: set[str] | None, part: str, shown: bool, touched: bool) -> None:
    found: Reads = None if reads is None else frozenset(reads)
    assert shows(found, part) == shown
    assert touches(found, part) == touched


def test_what_reads_anything_is_covered_by_the_whole_only() -> None:
    assert covers(None, None)
    assert covers(frozenset({"a"}), frozenset({"a.b", "a"}))
    assert not covers(frozenset({"a"}), None)
    assert not covers(frozenset({"a.b"}), frozenset({"a"}))


@given(VALUES, st.frozensets(PATHS, max_size=4))
def test_a_narrowed_value_has_the_same_at_each_path_and_less_elsewhere(value: object, reads: frozenset[str]) -> None:
    narrowed = narrow(value, tree(reads))
    for path in reads:
        assert at(narrowed, path) == at(value, path)
    assert narrow(narrowed, tree(reads)) == narrowed
    if isinstance(narrowed, dict):
        assert set(narrowed) <= {path.partition(".")[0] for path in reads}
