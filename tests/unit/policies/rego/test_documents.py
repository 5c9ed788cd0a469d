"""Parts of documents: what is taken out, what is left, and what holds what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.rego.documents import array_flatten, json_filter, json_remove, object_subset, reachable_paths

leaves = st.none() | st.booleans() | st.integers(2, 9) | st.text("ab", max_size=2)
documents = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner)),
    max_size=3,
)
paths = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join), max_size=3)


@given(documents, paths)
def test_what_is_left_and_what_is_removed_are_parts_of_the_whole(document: dict[str, Any], some: list[str]) -> None:
    assert object_subset(document, json_filter(document, some))
    assert object_subset(document, json_remove(document, some))
    assert json_remove(document, []) == document
    assert json_filter(document, list("abc")) == document


def test_pointers_are_unescaped_and_arrays_counted() -> None:
    document = {"a/b": {"~": 2}, "l": [{"x": 3, "y": 4}, 5]}
    assert json_filter(document, ["a~1b/~0", "/l/0/x"]) == {"a/b": {"~": 2}, "l": [{"x": 3}]}
    assert json_remove(document, ["a~1b", ["l", "0"]]) == {"l": [5]}


def test_true_is_not_one() -> None:
    assert not object_subset({"a": 1}, {"a": True})
    with pytest.raises(TypeError, match="told apart"):
        json_remove({"a": {1, "x"}}, [])


def test_arrays_are_flattened_by_one_level() -> None:
    assert array_flatten([1, [2, [3]], "x"]) == [1, 2, [3], "x"]


def test_paths_end_where_they_would_come_round() -> None:
    graph = {"a": ["b"], "b": ["c", "a"], "c": []}
    assert reachable_paths(graph, ["a"]) == {("a", "b"), ("a", "b", "c")}
    dense = {str(one): [str(other) for other in range(12)] for one in range(12)}
    with pytest.raises(ValueError, match="too many paths"):
        reachable_paths(dense, ["0"])
