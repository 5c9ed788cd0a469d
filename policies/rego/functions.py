"""Functions with a dotted name and a default, which the engine does not find: given a plain name of their own.

`default a.f(x) := 1` and `a.f(x) := …` become `cordon_function_0(x)`, and so do the calls and the replacements by
`with` that mean them, in whichever module.
"""

from __future__ import annotations

from collections.abc import Iterator

from policies.rego.edits import Edit
from policies.rego.imports import written
from policies.rego.mocks import mocks
from policies.rego.names import Names
from policies.rego.tree import Module, Node, expressions, path_of


def give_plain_names(names: Names, module: Module) -> list[Edit]:
    """The edits that rename such functions wherever a module means them."""
    plain = _plain_names(names)
    edits = []
    for node in _meanings(module) if plain else ():
        path = tuple(step or "" for step in names.resolve(module, path_of(node)))
        if path in plain:
            span = next(iter(node.values()))["span"]
            package, name = plain[path]
            edits.append(Edit(span["start"], span["end"], written((*package, name))))
    for rule in module.rules if plain else ():
        if rule.path in plain:
            head = rule.node if rule.default else next(iter(rule.node["head"].values()))
            span = next(iter(head["refr"].values()))["span"]
            edits.append(Edit(span["start"], span["end"], plain[rule.path][1]))
    return edits


def _meanings(module: Module) -> Iterator[Node]:
    """Where a function may be meant, as expressions: calls, and both sides of `with`."""
    for kind, node in expressions(module.tree["rules"]):
        if kind == "Call":
            yield node["fcn"]
    for mock in mocks(module):
        yield from (mock["refr"], mock["as"])


def _plain_names(names: Names) -> dict[tuple[str, ...], tuple[tuple[str, ...], str]]:
    """By the path of such a function: its package, and the name that it gets there."""
    found: dict[tuple[str, ...], tuple[tuple[str, ...], str]] = {}
    number = -1
    for path, rules in sorted(names.rules.items()):
        package = rules[0][0].package
        if len(path) == len(package) + 1 or not any(rule.default and rule.function for _, rule in rules):
            continue
        number += 1
        while (*package, f"cordon_function_{number}") in names.rules:
            number += 1
        found[path] = (package, f"cordon_function_{number}")
    return found
