"""What OPA takes out of a negated expression before it negates: `not f(input.x)` asks for `input.x` first.

OPA's compiler gives each reference and call among the operands a variable of its own, in a statement before the
negation. Where `input.x` is undefined, `not f(input.x)` is therefore undefined in OPA, and true in the engine.
Operands of `=` and `==`, and a reference that stands alone, are left in place; what is in their brackets is not.

Where a module imports `future.keywords.not` or all of `future.keywords`, OPA negates the whole with its operands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.errors import Problem
from policies.rego.edits import Edit, outermost
from policies.rego.names import DOCUMENTS, Names
from policies.rego.tree import Module, Node, bodies, expressions, path_of

_COMPREHENSIONS: Final = frozenset({"ArrayCompr", "SetCompr", "ObjectCompr"})
_REFERENCES: Final = frozenset({"RefDot", "RefBrack"})


def take_out(names: Names, module: Module) -> list[Edit]:
    """The edits that put those parts into statements of their own, as far as they do not lie in each other.

    What lies within a part that was moved is found in the next pass, so this is repeated until there are none.
    """
    return outermost(_found(names, module))


def enclose(_: Names, module: Module) -> list[Edit]:
    """The edits that write a negation which takes its operands with it as a comprehension that is compared."""
    if not module.negates_bodies:
        return []
    found = []
    for body in bodies(module.tree["rules"]):
        for statement in body["stmts"]:
            negation = statement["literal"].get("NotExpr")
            if negation:
                start, end = negation["span"]["start"], negation["span"]["end"]
                found += [Edit(start, start + len("not"), "[1 |"), Edit(end, end, "", "] == []")]
    return found


def _found(names: Names, module: Module) -> list[Edit]:
    found: list[Edit] = []
    for body in bodies(module.tree["rules"]):
        changed = False
        for statement in body["stmts"]:
            kind, negation = next(iter(statement["literal"].items()))
            if kind == "NotExpr":
                before = len(found)
                found += _moved(names, module, statement, negation, len(found))
                changed = changed or len(found) > before
        if changed and module.text.encode()[body["span"]["start"] :][:1] != b"{" and _alone(module, body):
            end = max(part["span"]["end"] for part in [body, *body["stmts"]])
            found.append(Edit(body["stmts"][0]["span"]["start"], end, "{ ", " }"))
    return found


def _alone(module: Module, body: Node) -> bool:
    """Whether a body is one statement behind `if`, without braces."""
    before = module.text.encode()[: body["stmts"][0]["span"]["start"]].rstrip()
    return before.endswith(b"if") and len(body["stmts"]) == 1


def _moved(names: Names, module: Module, statement: Node, negation: Node, number: int) -> Iterator[Edit]:
    mocks = "".join(" " + module.source(each) for each in statement.get("with_mods", ()))
    first = ""
    for place, part in enumerate(_taken_out(names, module, negation["expr"])):
        node = next(iter(part.values()))
        name = f"cordon_{number + place}_{node['span']['start']}"
        while name in module.text:
            name += "_"
        first += f"{name} := {module.source(node)}{mocks}; "
        yield Edit(node["span"]["start"], node["span"]["end"], name)
    if first:
        start = negation["span"]["start"]
        yield Edit(start, start, first, "")


def _taken_out(names: Names, module: Module, negated: Node) -> Iterator[Node]:
    """The parts of a negated expression that OPA evaluates before it, in their order."""
    kind, node = next(iter(negated.items()))
    if kind == "AssignExpr" or (kind == "BoolExpr" and node["op"] == "Eq"):
        operands = [*_in_place(node["lhs"]), *_in_place(node["rhs"])]
    elif kind == "Call":
        operands = node["params"]
    elif kind in ("BoolExpr", "ArithExpr", "BinExpr"):
        operands = [node["lhs"], node["rhs"]]
    elif kind == "Membership":
        operands = [node["value"], node["collection"]]
    else:
        operands = list(_in_place(negated))
    return (operand for operand in operands if _may_be_undefined(names, module, operand))


def _in_place(term: Node) -> Iterator[Node]:
    """The parts of a term that itself stays where it is if it is a reference."""
    kind, node = next(iter(term.items()))
    if kind == "Var":
        return
    while kind in _REFERENCES:
        if kind == "RefBrack":
            yield node["index"]
        term = node["refr"]
        kind, node = next(iter(term.items()))
    if kind != "Var":
        yield term


def _may_be_undefined(names: Names, module: Module, term: Node) -> bool:
    """Whether a reference or a call is in a term, apart from its comprehensions, which are always defined."""
    stack: list[object] = [term]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(part)
        elif isinstance(part, dict):
            kind = next(iter(part), "")
            if len(part) == 1 and kind in _COMPREHENSIONS:
                continue
            if len(part) == 1 and (kind in _REFERENCES or kind == "Call"):
                return True
            if len(part) == 1 and kind == "Var" and names.resolve(module, path_of(part))[0] in DOCUMENTS:
                return True
            stack.extend(part.values())
    return False


def check_negation(module: Module) -> Iterator[Problem]:
    """A `_` in the brackets of a negated reference: unsafe in OPA, while the engine takes it as a loop."""
    for body in bodies(module.tree["rules"]):
        for statement in body["stmts"]:
            kind, negation = next(iter(statement["literal"].items()))
            if kind == "NotExpr":
                yield from _wildcards(module, negation["expr"])
                if next(iter(negation["expr"])) == "Bool":
                    message = "the negation of a constant is not evaluated here as OPA does it"
                    yield module.problem(negation, "negation", message, "leave it out")


def _wildcards(module: Module, negated: Node) -> Iterator[Problem]:
    hidden: set[int] = set()
    for kind, node in expressions(negated):
        if kind in _COMPREHENSIONS:
            hidden.update(id(inner) for _, inner in expressions(node))
        elif kind == "RefBrack" and id(node) not in hidden:
            index_kind, index = next(iter(node["index"].items()))
            if index_kind == "Var" and index["value"] == "_":
                message = "`_` in a negation is unsafe in OPA"
                yield module.problem(node, "negation", message, "name what is looked for: `some x in …`, or `every`")


def check_every(module: Module) -> Iterator[Problem]:
    """`=` with a variable of `every`: the engine takes the variable as still open and the equation as true."""
    for kind, literal in expressions(module.tree["rules"]):
        if kind != "Every":
            continue
        names = {module.source({"span": each}) for each in (literal["key"], literal["value"]) if each}
        for inner_kind, node in expressions(literal["query"]):
            if inner_kind == "AssignExpr" and node["op"] == "Eq":
                used = {
                    str(part["value"])
                    for part_kind, part in expressions([node["lhs"], node["rhs"]])
                    if part_kind == "Var"
                }
                if used & names:
                    message = "`=` with a variable of `every` is not evaluated here as OPA does it"
                    yield module.problem(node, "every", message, "write == to compare, or := to name a value")
