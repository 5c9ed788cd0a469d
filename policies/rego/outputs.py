"""Calls with their result as last argument, `f(x, y)` for `y = f(x)`: OPA knows the form, the engine does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.rego.builtins import ARITY
from policies.rego.edits import Edit
from policies.rego.names import DOCUMENTS, Names
from policies.rego.tree import Module, Node, expressions, statements

_CONSTANTS: Final = frozenset({"Array", "Bool", "Null", "Number", "Object", "RawString", "Set", "String"})
"""What arguments of negated calls are made of: what may be undefined would have to be asked for before the negation."""
_COMPUTED: Final = frozenset({"ArithExpr", "BinExpr", "Call"})


def output_calls(names: Names, module: Module) -> frozenset[int]:
    """The identities of the calls of this form that stand as a statement, with a result that is not computed.

    A negated one counts where all its arguments are made of constants and local variables.
    """
    found = set()
    for statement in statements(module.tree["rules"]):
        kind, literal = next(iter(statement["literal"].items()))
        if kind != "Expr":
            continue
        kind, call = next(iter(literal["expr"].items()))
        if kind != "Call" or not call["params"] or _takes(names, module, call) != len(call["params"]) - 1:
            continue
        if not any(kind in _COMPUTED for kind, _ in expressions(call["params"][-1])):
            found.add(id(call))
    for literal in _negations(module):
        call = literal["expr"]["Call"]
        plain = all(
            part in _CONSTANTS or (part == "Var" and _is_local(names, module, str(node["value"])))
            for part, node in expressions(call["params"])
        )
        if plain and call["params"] and _takes(names, module, call) == len(call["params"]) - 1:
            found.add(id(call))
    return frozenset(found)


def _is_local(names: Names, module: Module, name: str) -> bool:
    return name not in DOCUMENTS and names.resolve(module, (name,)) == (name,)


def _takes(names: Names, module: Module, call: Node) -> int | None:
    """How many arguments a function takes; None where that is unknown, and for `walk`, which has this form only."""
    function, name = names.called(module, call)
    if function is None:
        return None if name == "walk" else ARITY.get(name)
    heads = (rule.node["head"]["Func"] for _, rule in names.rules[function] if rule.function and not rule.default)
    return next((len(head["args"]) for head in heads), None)


def turn_round(names: Names, module: Module) -> list[Edit]:
    """The edits that write these calls as `y = f(x)`, and negated ones as an empty array."""
    calls = output_calls(names, module)
    found = []
    negated: set[int] = set()
    for literal in _negations(module):
        call = literal["expr"]["Call"]
        if id(call) in calls:
            negated.add(id(call))
            text, start, end = _output(module, call)
            found += [
                Edit(literal["span"]["start"], call["span"]["start"], "[1 | ", None),
                Edit(start, end, ""),
                Edit(call["span"]["start"], call["span"]["end"], "", f" == {text}] == []"),
            ]
    for kind, node in expressions(module.tree["rules"]):
        if kind == "Call" and id(node) in calls - negated:
            text, start, end = _output(module, node)
            found += [Edit(node["span"]["start"], node["span"]["start"], f"{text} = ", ""), Edit(start, end, "")]
    return found


def _negations(module: Module) -> Iterator[Node]:
    """The negations of calls in a module."""
    for statement in statements(module.tree["rules"]):
        kind, literal = next(iter(statement["literal"].items()))
        if kind == "NotExpr" and "Call" in literal["expr"]:
            yield literal


def _output(module: Module, call: Node) -> tuple[str, int, int]:
    """The last argument as it is written, and the bytes from the comma before it to the closing parenthesis."""
    source = module.text.encode()
    node = next(iter(call["params"][-1].values()))
    before = b"," if len(call["params"]) > 1 else b"("
    start = source.rindex(before, 0, node["span"]["start"]) + (before == b"(")
    return module.source(node), start, call["span"]["end"] - 1
