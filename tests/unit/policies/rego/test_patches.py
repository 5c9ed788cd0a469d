"""Patches: the examples of RFC 6902, appendix A, and what must not be done."""

from __future__ import annotations

from typing import Any

import pytest

from policies.rego.patches import json_patch

Patch = dict[str, Any]


@pytest.mark.parametrize(
    ("document", "patch", "wanted"),
    [
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": "qux"}, {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, {"op": "add", "path": "/foo/1", "value": "q"}, {"foo": ["bar", "q", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, {"op": "remove", "path": "/baz"}, {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, {"op": "remove", "path": "/foo/1"}, {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, {"op": "replace", "path": "/baz", "value": "boo"}, {"baz": "boo"}),
        ({"a": {"b": 2}, "c": {}}, {"op": "move", "from": "/a/b", "path": "/c/d"}, {"a": {}, "c": {"d": 2}}),
        ({"f": ["all", "cows", "eat"]}, {"op": "move", "from": "/f/1", "path": "/f/2"}, {"f": ["all", "eat", "cows"]}),
        ({"foo": ["bar"]}, {"op": "add", "path": "/foo/-", "value": ["x"]}, {"foo": ["bar", ["x"]]}),
        ({"/": 9, "~1": 10}, {"op": "test", "path": "/~01", "value": 10}, {"/": 9, "~1": 10}),
        ({"s": {"a", "b"}}, {"op": "remove", "path": "s/a"}, {"s": {"b"}}),
    ],
)
def test_operations(document: Any, patch: Patch, wanted: Any) -> None:
    before = repr(document)
    assert json_patch(document, [patch]) == wanted
    assert repr(document) == before


@pytest.mark.parametrize(
    "patch",
    [
        {"op": "add", "path": "/a/b/c", "value": 2},
        {"op": "add", "path": "/l/5", "value": 2},
        {"op": "add", "path": "/l/01", "value": 2},
        {"op": "add", "path": "/a"},
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none", "value": 2},
        {"op": "test", "path": "/l/0", "value": "2"},
        {"op": "move", "from": "/a", "path": "/a/x"},
        {"op": "replace", "path": "/s/a", "value": "b"},
        {"op": "merge", "path": "/a"},
    ],
)
def test_what_does_not_fit_is_an_error(patch: Patch) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        json_patch({"a": {}, "l": [2, 3], "s": {"a"}}, [patch])


def test_copies_of_copies_are_bounded() -> None:
    double = [{"op": "copy", "from": "/a", "path": f"/a/{place}"} for place in range(200)]
    with pytest.raises(ValueError, match=r"too much|too deeply"):
        json_patch({"a": {}}, double)


def test_a_copy_that_shifts_what_it_copies_is_counted_as_well() -> None:
    double = [{"op": "copy", "from": "/1", "path": "/0"}, {"op": "move", "from": "/0", "path": "/1/-"}]
    with pytest.raises(ValueError, match="too much"):
        json_patch(["s", ["b"]], double * 18)


def test_nothing_is_moved_into_itself_however_its_place_is_written() -> None:
    with pytest.raises(ValueError, match="into itself"):
        json_patch({"a": [1, [2]]}, [{"op": "move", "from": ["a", 0], "path": ["a", "0", "-"]}])
