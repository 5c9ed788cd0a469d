"""What tests put in place of `input`: `with input.tennant as …` tries a document that the gateway never makes.

All of it is a warning: a test may want a document that cannot be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.authoring.inputs import CODE
from policies.authoring.layout import Layout, Missing, inner, remedy
from policies.authoring.scope import steps
from policies.errors import Problem
from policies.rego.names import Names
from policies.rego.tree import Module, Node, path_of, statements

_DEEPEST: Final = 16


def check_mocks(names: Names, whole: Layout) -> list[Problem]:
    """Problems of the targets and of the documents that are written out, in order of place."""
    problems: list[Problem] = []
    for module in names.modules:
        for statement in statements(module.tree["rules"]):
            for node in statement.get("with_mods") or ():
                problems += _mock(names, module, node, whole)
    return sorted(set(problems))


def _mock(names: Names, module: Module, node: Node, whole: Layout) -> Iterator[Problem]:
    target = names.resolve(module, path_of(node["refr"]))
    if target[:1] != ("input",):
        return
    _, written = steps(node["refr"])
    layout: Layout | None = whole
    try:
        for place, key in enumerate(target[1:], len(written) - len(target) + 1):
            at = written[max(place, 0)].node if written else next(iter(node["refr"].values()))
            layout = inner(layout, key)
    except Missing as missing:
        yield _problem(module, at, missing, whole)
        return
    yield from _document(names, module, node["as"], layout, whole, 0)


def _document(
    names: Names, module: Module, value: Node, layout: Layout | None, whole: Layout, depth: int
) -> Iterator[Problem]:
    """Problems of a value that is written out here, or by the one definition of a rule."""
    kind, node = next(iter(value.items()))
    if layout is None or depth > _DEEPEST:
        return
    if kind == "Object":
        for _, key, inside in node["fields"]:
            key_kind, literal = next(iter(key.items()))
            try:
                below = inner(layout, str(literal["value"]) if key_kind in ("String", "RawString") else None)
            except Missing as missing:
                if missing.kind == "object" and missing.key is not None:
                    yield _problem(module, literal, missing, whole)
                continue
            yield from _document(names, module, inside, below, whole, depth + 1)
    elif kind == "Array":
        try:
            items = inner(layout, None)
        except Missing:
            return
        for item in node["items"]:
            yield from _document(names, module, item, items, whole, depth + 1)
    elif kind == "Call" and names.called(module, node)[1] == "object.union":
        for item in node["params"]:
            yield from _document(names, module, item, layout, whole, depth + 1)
    elif kind in ("Var", "RefDot", "RefBrack"):
        yield from _fixture(names, names.resolve(module, path_of(value)), layout, whole, depth)


def _fixture(
    names: Names, path: tuple[str | None, ...], layout: Layout, whole: Layout, depth: int
) -> Iterator[Problem]:
    found = names.rules.get(tuple(step or "" for step in path), [])
    if len(found) == 1 and found[0][1].kind == "Compr" and not found[0][1].open:
        module, rule = found[0]
        assign = rule.node["head"]["Compr"]["assign"]
        if assign:
            yield from _document(names, module, assign["value"], layout, whole, depth + 1)


def _problem(module: Module, node: Node, missing: Missing, whole: Layout) -> Problem:
    line, column = module.place(node)
    if missing.kind == "object":
        message = f"the gateway makes no input with {missing.layout.path}.{missing.key}"
    else:
        message = f"{missing.layout.path} is never an object"
    return Problem(module.file, line, column, CODE, message, remedy(missing, whole), "warning")
