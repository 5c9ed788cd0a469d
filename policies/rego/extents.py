"""A package read as a value, or what the heads `a.b := …` and `a.c := …` make of `a`: written as an object.

The engine loses results when it evaluates a whole package, so the object is put together rule by rule, each an entry
where it is defined. Functions have no place in it. Steps that are only known when evaluated follow the object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from policies.rego.edits import Edit, outermost
from policies.rego.imports import declared
from policies.rego.mocks import mocks
from policies.rego.names import Names, in_data, known
from policies.rego.recursion import parts
from policies.rego.tree import Module, Node, Path, expressions, path_of, references


def called_nodes(module: Module) -> Iterator[Node]:
    """The names of called functions, which are no references to values."""
    for kind, node in expressions(module.tree["rules"]):
        if kind == "Call":
            yield next(iter(node["fcn"].values()))


def named_only(module: Module) -> frozenset[int]:
    """The identities of the references that name a function, or either side of `with`, and read no value."""
    mocked = (next(iter(part.values())) for mock in mocks(module) for part in (mock["refr"], mock["as"]))
    return frozenset(id(node) for node in (*called_nodes(module), *mocked))


def is_extent(names: Names, path: tuple[str, ...]) -> bool:
    """Whether a path means no rule, but what lies below it."""
    return bool(names.below(path)) and path not in names.rules and not names.in_tree(path)


def readable(names: Names, module: Module, written: Path, absolute: Path, data: Mapping[str, object]) -> bool:
    """Whether a reference into an extent can be written as an object: nothing else has a say in it."""
    path = known(absolute)
    if len(path) < 2 or in_data(path[1:], data):
        return False
    if written[0] != "data" and written[0] in {name for name, _ in declared(module)}:
        return False
    with_rules = {
        rule.path[: len(rule_module.package)] for rules in names.rules.values() for rule_module, rule in rules
    }
    if any(package[: len(path)] == path and package not in with_rules for package in names.packages):
        return False
    return not any(mock[: len(path)] == path[: len(mock)] for mock in _mocked(names))


def _mocked(names: Names) -> Iterator[Path]:
    targets = (names.resolve(module, path_of(mock["refr"])) for module in names.modules for mock in mocks(module))
    return (target for target in targets if target[:1] == ("data",))


def write_objects(names: Names, module: Module) -> list[Edit]:
    """The edits that write such references as objects (inspection.py has refused those that cannot be)."""
    called = {id(node) for node in called_nodes(module)}
    edits = []
    for path, node in references([parts(rule.node) for rule in module.rules]):
        absolute = names.resolve(module, path)
        extent = known(absolute)
        if id(node) not in called and absolute[:1] == ("data",) and is_extent(names, extent):
            span = _prefix(node, len(absolute) - len(extent))["span"]
            edits.append(Edit(span["start"], span["end"], _object(names, extent)))
    return outermost(edits)


def _prefix(node: Node, steps: int) -> Node:
    """A reference without its last steps."""
    for _ in range(steps):
        node = next(iter(node["refr"].values()))
    return node


def _object(names: Names, path: tuple[str, ...]) -> str:
    entries = []
    for step in sorted({below[len(path)] for below in names.below(path)}):
        inner, key = (*path, step), json.dumps(step)
        if inner not in names.rules and inner not in names.trees:
            entries.append(f"{{{key}: {_object(names, inner)}}}")
        elif not any(rule.function for _, rule in names.rules.get(inner, ())):
            entries.append(f"{{{key}: cordon_value | cordon_value := {_reference(inner)}}}")
    return f"object.union_n([{', '.join(entries)}])"


def _reference(path: tuple[str, ...]) -> str:
    return path[0] + "".join(f"[{json.dumps(step)}]" for step in path[1:])
