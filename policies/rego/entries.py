"""`cordon_tree`: the object that rules with a variable in the middle of their heads make together (heads.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from policies.rego.checks import MAX_DEPTH, distinct, same, text


@dataclass(slots=True)
class _Leaf:
    value: object


class _Elements(set[object]):
    """The set that some rules make together."""


def tree(entries: object, shapes: object) -> object:
    """`cordon_tree`: the object of these entries, [path, value, is an element of a set]."""
    root: dict[str | int, Any] = {}
    for *steps, is_set in _lists(shapes):
        _above(root, steps).setdefault(steps[-1], _Elements() if is_set else {})
    for path, value, is_set in _lists(entries):
        above, last = _above(root, path), _step(path[-1])
        found = above.setdefault(last, _Elements() if is_set else _Leaf(distinct(value)))
        if is_set and isinstance(found, _Elements):
            found.add(distinct(value))
        elif is_set or not isinstance(found, _Leaf) or not same(found.value, value):
            raise ValueError("rules that do not agree")
    return _plain(root)


def _lists(value: object) -> list[Any]:
    if type(value) is not list:
        raise TypeError("an array is expected")
    return value


def _step(value: object) -> str | int:
    return value if type(value) is int else text(value)


def _above(root: dict[str | int, Any], path: Sequence[object]) -> dict[str | int, Any]:
    """The object that the last step of a path lies in."""
    if len(path) > MAX_DEPTH:
        raise ValueError("a path is too long")
    node = root
    for step in path[:-1]:
        node = node.setdefault(_step(step), {})
        if type(node) is not dict:
            raise ValueError("a rule goes on through the value of another")
    return node


def _plain(node: object) -> object:
    """The value that a part of the tree stands for."""
    if isinstance(node, _Leaf):
        return node.value
    if isinstance(node, _Elements):
        return distinct(set(node))
    assert isinstance(node, dict)
    return {step: _plain(each) for step, each in node.items()}
