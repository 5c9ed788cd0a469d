"""`json.patch`: the operations of RFC 6902 on objects, arrays and sets, as OPA does them.

A patch that does not fit is an error here, where OPA is undefined.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from policies.rego.checks import MAX_DEPTH, MAX_ITEMS, distinct, same, size, text
from policies.rego.documents import steps_of

MOST_PATCHES: Final = 1_000
_Steps = list[str | int]


def json_patch(document: object, patches: object) -> object:
    """`json.patch`: a document with all operations made in order."""
    if type(patches) is not list:
        raise TypeError("an array of patches is expected")
    if len(patches) > MOST_PATCHES:
        raise ValueError("there are too many patches")
    root = [copy.deepcopy(distinct(document))]
    room = MAX_ITEMS
    for patch in patches:
        if isinstance(patch, dict) and patch.get("op") == "copy":
            # Before it is copied: afterwards, something else may stand there.
            room -= size(_found(root, _path(patch, "from")))
            if room < 0:
                raise ValueError("too much is copied")
        _apply(root, distinct(patch))
    return distinct(root[0])


def _apply(root: list[Any], patch: object) -> None:
    """One operation on the only element of `root`."""
    if not isinstance(patch, dict):
        raise TypeError("a patch is an object")
    path = _path(patch, "path")
    operation = text(patch.get("op"))
    if operation in ("add", "replace", "test") and "value" not in patch:
        raise ValueError("a patch without its value")
    if operation == "add":
        _add(root, path, copy.deepcopy(patch["value"]))
    elif operation == "replace":
        found = _taken(root, path)
        if isinstance(_parent(root, path), set) and not same(found, patch["value"]):
            raise ValueError("an element of a set is not replaced by another")
        _add(root, path, copy.deepcopy(patch["value"]))
    elif operation == "remove":
        _taken(root, path)
    elif operation == "test":
        if not same(_found(root, path), patch["value"]):
            raise ValueError("a test has failed")
    elif operation in ("copy", "move"):
        source = _path(patch, "from")
        moved = copy.deepcopy(_found(root, source)) if operation == "copy" else _moved(root, source, path)
        _add(root, path, moved)
    else:
        raise ValueError("an operation that is not known")


def _moved(root: list[Any], source: _Steps, path: _Steps) -> object:
    if [*map(str, path[: len(source)])] == [*map(str, source)]:
        raise ValueError("nothing is moved into itself")
    return _taken(root, source)


def _path(patch: Mapping[str, Any], name: str) -> _Steps:
    path = patch.get(name)
    if isinstance(path, list):
        found: _Steps = [step if type(step) is int else text(step) for step in path]
    else:
        found = [*steps_of(path)]
    if not found or len(found) > MAX_DEPTH:
        raise ValueError("a path of between 1 and 64 steps is expected")
    return found


def _parent(root: list[Any], path: _Steps) -> Any:
    """What the last step of a path leads into."""
    value: Any = root[0]
    for step in path[:-1]:
        value = _inside(value, step)
    return value


def _inside(value: object, step: str | int) -> Any:
    if isinstance(value, dict) and type(step) is str and step in value:
        return value[step]
    if isinstance(value, list):
        return value[_index(step, len(value) - 1)]
    if isinstance(value, set) and type(step) is str and step in value:
        return step
    raise ValueError("a path leads nowhere")


def _index(step: str | int, last: int) -> int:
    """A step as a place from 0 to `last`; written without a sign or leading zeros."""
    written = str(step)
    if not (written.isascii() and written.isdigit()) or len(written) > 6 or (written[0] == "0" and written != "0"):
        raise ValueError("not a place in an array")
    if int(written) > last:
        raise ValueError("a place behind the end of an array")
    return int(written)


def _found(root: list[Any], path: _Steps) -> Any:
    return _inside(_parent(root, path), path[-1])


def _taken(root: list[Any], path: _Steps) -> Any:
    """What stands at a path, which is taken out."""
    parent, step = _parent(root, path), path[-1]
    found = _inside(parent, step)
    if isinstance(parent, set):
        parent.remove(step)
    else:
        del parent[_index(step, len(parent) - 1) if isinstance(parent, list) else step]
    return found


def _add(root: list[Any], path: _Steps, value: object) -> None:
    parent, step = _parent(root, path), path[-1]
    if isinstance(parent, list):
        if len(parent) >= MAX_ITEMS:
            raise ValueError("an array is too long")
        parent.insert(len(parent) if step == "-" else _index(step, len(parent)), value)
    elif isinstance(parent, dict) and type(step) is str:
        parent[step] = value
    elif isinstance(parent, set) and type(step) is str and value == step:
        parent.add(step)
    else:
        raise ValueError("nothing can be added at a path")
