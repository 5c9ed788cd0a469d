"""`with`: what may be replaced, and by what, so that it means here what it means to OPA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from policies.errors import Problem
from policies.rego.builtins import ARITY, NATIVE, OPA_SERVER
from policies.rego.names import Names, in_data, known
from policies.rego.recursion import dependencies
from policies.rego.tree import Module, Node, Path, expressions, path_of, statements

_UNSEEN: Final = frozenset(
    {
        "abs",
        "is_array",
        "is_number",
        "is_object",
        "is_set",
        "is_string",
        "object.union_n",
        "product",
        "round",
        "sum",
        "walk",
    }
)
"""Builtins that the guards themselves call."""
_DOCUMENTS: Final = (("input",), ("data",))
_CONSTANT: Final = frozenset({"Array", "Bool", "Null", "Number", "Object", "RawString", "String"})


def mocks(module: Module) -> Iterator[Node]:
    """All replacements by `with` in a module."""
    for statement in statements(module.tree["rules"]):
        yield from statement.get("with_mods", ())


def replaced(names: Names) -> list[Path]:
    """The absolute paths of all that is replaced by `with` in a bundle."""
    return [names.resolve(module, path_of(mock["refr"])) for module in names.modules for mock in mocks(module)]


def mocked_builtins(names: Names) -> frozenset[str]:
    """The builtins that are replaced anywhere, of which nothing can be taken for granted then."""
    return frozenset(
        ".".join(step or "" for step in target) for target in replaced(names) if target[:1] not in _DOCUMENTS
    )


def check_mocks(names: Names, module: Module, data: Mapping[str, object]) -> Iterator[Problem]:
    """What a guard calls, or what is done here instead of by the engine, would be replaced unseen: not these."""
    for node in mocks(module):
        target = names.resolve(module, path_of(node["refr"]))
        function = any(rule.function for _, rule in names.rules.get(known(target), ()))
        name = ".".join(step or "" for step in target)
        if (function or (name in NATIVE and name not in _UNSEEN)) and _plain(names, module, target, node["as"]):
            continue
        if target[:1] not in _DOCUMENTS or function:
            message = (
                "replacing a function by `with` is evaluated here only where another of the bundle takes its place"
            )
            remedy = "give it a constant or a function that does not call the replaced one, or " + OPA_SERVER
            yield module.problem(node, "with", message, remedy)
        elif target[:1] == ("data",) and in_data(known(target)[1:], data):
            message = "replacing the bundle's own data by `with` is not evaluated here as OPA does it"
            yield module.problem(
                node, "with_data", message, "give the rule what it needs as an argument, or " + OPA_SERVER
            )


def _plain(names: Names, module: Module, target: Path, replacement: Node) -> bool:
    """Whether a function's replacement is a constant, or another function that never comes back to it."""
    path = names.resolve(module, path_of(replacement))
    if not path:
        return all(kind in _CONSTANT for kind, _ in [next(iter(replacement.items())), *expressions(replacement)])
    static, replaced = known(path), known(target)
    if len(static) != len(path) or static not in names.rules:
        return False
    if len({_arity(names, each) for each in (static, replaced)} - {None}) > 1:
        return False
    graph, ahead, seen = dependencies(names), [static], set[tuple[str, ...]]()
    while ahead:
        step = ahead.pop()
        if step not in seen:
            seen.add(step)
            ahead.extend(graph.get(step, ()))
    return replaced not in seen and not any(_calls(names, step, ".".join(replaced)) for step in seen)


def _calls(names: Names, path: tuple[str, ...], builtin: str) -> bool:
    """Whether a rule calls a builtin."""
    return any(
        kind == "Call" and names.called(module, node) == (None, builtin)
        for module, rule in names.rules[path]
        for kind, node in expressions(rule.node)
    )


def _arity(names: Names, path: tuple[str, ...]) -> int | None:
    """How many arguments a function or a builtin takes; None for a rule."""
    if path not in names.rules:
        return ARITY.get(".".join(path))
    _, rule = names.rules[path][0]
    if not rule.function:
        return None
    head = rule.node if rule.default else rule.node["head"]["Func"]
    return len(head["args"])
