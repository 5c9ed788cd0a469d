"""Calls with their result as last argument, `f(x, y)` for `y = f(x)`: OPA knows the form, the engine does not."""

from __future__ import annotations

from typing import Final

from policies.rego.builtins import ARITY
from policies.rego.edits import Edit
from policies.rego.names import Names
from policies.rego.tree import Module, Node, expressions, statements

_COMPUTED: Final = frozenset({"ArithExpr", "BinExpr", "Call"})


def output_calls(names: Names, module: Module) -> frozenset[int]:
    """The identities of the calls of this form that stand as a statement, with a result that is not computed."""
    found = set()
    for statement in statements(module.tree["rules"]):
        kind, literal = next(iter(statement["literal"].items()))
        if kind != "Expr":
            continue
        kind, call = next(iter(literal["expr"].items()))
        if kind != "Call" or len(call["params"]) < 2 or _takes(names, module, call) != len(call["params"]) - 1:
            continue
        if not any(kind in _COMPUTED for kind, _ in expressions(call["params"][-1])):
            found.add(id(call))
    return frozenset(found)


def _takes(names: Names, module: Module, call: Node) -> int | None:
    """How many arguments a function takes; None where that is unknown, and for `walk`, which has this form only."""
    function, name = names.called(module, call)
    if function is None:
        return None if name == "walk" else ARITY.get(name)
    heads = (rule.node["head"]["Func"] for _, rule in names.rules[function] if rule.function and not rule.default)
    return next((len(head["args"]) for head in heads), None)


def turn_round(names: Names, module: Module) -> list[Edit]:
    """The edits that write these calls as `y = f(x)`."""
    calls = output_calls(names, module)
    found = []
    for kind, node in expressions(module.tree["rules"]):
        if kind == "Call" and id(node) in calls:
            text, start, end = _output(module, node)
            found += [Edit(node["span"]["start"], node["span"]["start"], f"{text} = ", ""), Edit(start, end, "")]
    return found


def _output(module: Module, call: Node) -> tuple[str, int, int]:
    """The last argument as it is written, and the bytes from the comma before it to the closing parenthesis."""
    source = module.text.encode()
    node = next(iter(call["params"][-1].values()))
    return module.source(node), source.rindex(b",", 0, node["span"]["start"]), call["span"]["end"] - 1
