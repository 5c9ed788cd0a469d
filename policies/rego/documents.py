"""Builtins that take parts out of documents, or look for them, as OPA does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from policies.rego.checks import MAX_DEPTH, MAX_ITEMS, distinct, same, text

MAX_PATHS: Final = 10_000

_Tree = dict[str, Any]
"""Paths by their steps; None where a path ends."""


def json_remove(value: object, paths: object) -> object:
    """`json.remove`: an object without what stands at the paths."""
    return _removed(_object(value), _tree(paths))[0]


def json_filter(value: object, paths: object) -> object:
    """`json.filter`: of an object only what stands at the paths."""
    return _filtered(_object(value), _tree(paths))


def _object(value: object) -> object:
    if type(value) is not dict:
        raise TypeError("an object is expected")
    return distinct(value)


def _tree(paths: object) -> _Tree:
    if not isinstance(paths, list | set):
        raise TypeError("an array or a set of paths is expected")
    root: _Tree = {}
    for path in paths:
        steps = steps_of(path)
        if len(steps) > MAX_DEPTH:
            raise ValueError("a path is too long")
        if steps:
            _plant(root, steps)
    return root


def _plant(node: _Tree, steps: list[str]) -> None:
    for step in steps[:-1]:
        below = node.setdefault(step, {})
        if below is None:
            return
        node = below
    node[steps[-1]] = None


def steps_of(path: object) -> list[str]:
    """The steps of a path: of a JSON pointer, or given one by one; [] for the empty path."""
    if isinstance(path, list):
        return [text(step) for step in path]
    written = text(path)
    if not written:
        return []
    return [step.replace("~1", "/").replace("~0", "~") for step in written.lstrip("/").split("/")]


def _removed(value: object, tree: _Tree) -> tuple[object, ...]:
    """The rest of a value, () if nothing is left."""
    if isinstance(value, dict):
        rest = {key: _left(each, key, tree) for key, each in value.items()}
        return ({key: each[0] for key, each in rest.items() if each},)
    if isinstance(value, list):
        return ([each[0] for place, item in enumerate(value) if (each := _left(item, str(place), tree))],)
    if isinstance(value, set):
        return ({each for each in value if not (text(each) in tree and tree[text(each)] is None)},)
    return (value,)


def _left(value: object, step: str, tree: _Tree) -> tuple[object, ...]:
    if step not in tree:
        return (value,)
    return () if tree[step] is None else _removed(value, tree[step])


def _filtered(value: object, tree: _Tree | None) -> object:
    if tree is None:
        return value
    if isinstance(value, dict):
        return {key: _filtered(each, tree[key]) for key, each in value.items() if key in tree}
    if isinstance(value, list):
        return [_filtered(each, tree[str(place)]) for place, each in enumerate(value) if str(place) in tree]
    if isinstance(value, set):
        return {each for each in value if text(each) in tree}
    return value


def object_subset(value: object, part: object) -> bool:
    """`object.subset`: whether a value holds all of another; objects and sets below them likewise."""
    found = _holds(distinct(value), distinct(part))
    if found is None:
        if isinstance(value, list) and isinstance(part, set):
            return _array_holds_set(value, part)
        raise TypeError("two objects, two sets, two arrays, or an array and a set are expected")
    return found


def _holds(value: object, part: object) -> bool | None:
    if isinstance(value, dict) and isinstance(part, dict):
        return all(
            key in value and (same(each, value[key]) or bool(_holds(value[key], each))) for key, each in part.items()
        )
    if isinstance(value, set) and isinstance(part, set):
        return part <= value
    if isinstance(value, list) and isinstance(part, list):
        if len(value) * len(part) > MAX_ITEMS:
            raise ValueError("the arrays are too long to compare")
        return any(
            all(map(same, value[at : at + len(part)], part)) for at in range(max(0, len(value) - len(part)) + 1)
        ) and len(part) <= len(value)
    return None


def _array_holds_set(value: list[object], part: set[object]) -> bool:
    """OPA counts hits, so that an element twice in the array counts for two of the set; and so does this."""
    missing = len(part)
    for each in value:
        missing -= not isinstance(each, list | dict | set | bool) and each in part
        if missing == 0:
            return True
    return False


def array_flatten(value: object) -> list[object]:
    """`array.flatten`: the elements of the arrays in an array, one level deep."""
    if type(value) is not list:
        raise TypeError("an array is expected")
    distinct(value)
    return [inner for each in value for inner in (each if isinstance(each, list) else [each])]


def reachable_paths(graph: object, initial: object) -> set[tuple[str, ...]]:
    """`graph.reachable_paths`: the longest paths from the first vertices, each until it would come round; bounded."""
    if type(graph) is not dict or not isinstance(initial, list | set):
        raise TypeError("an object, and an array or a set, are expected")
    edges = {text(key): list(_vertices(each)) for key, each in graph.items()}
    found: set[tuple[str, ...]] = set()
    ahead: list[tuple[str, tuple[str, ...]]] = []
    for vertex in _vertices(initial):
        if vertex in edges:
            ahead += [(each, (vertex,)) for each in edges[vertex]]
            if not edges[vertex]:
                found.add((vertex,))
    steps = 0
    while ahead:
        vertex, path = ahead.pop()
        steps += len(path)
        if steps > MAX_PATHS:
            raise ValueError("there are too many paths")
        if vertex not in edges:
            found.add(path)
            continue
        path = (*path, vertex)
        if not edges[vertex]:
            found.add(path)
        for each in edges[vertex]:
            if each in path:
                found.add(path)
            else:
                ahead.append((each, path))
    return found


def _vertices(value: object) -> Iterator[str]:
    if isinstance(value, list | set):
        yield from map(text, value)
