"""Variables that nothing gives a value, which OPA calls unsafe.

The engine refuses some of them, and takes others as undefined: those in the head of a rule, in the term of a
comprehension, and on the right of `:=`. A misspelt name would leave a rule without a value for ever, and a denial that
is never said lets calls through.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from policies.errors import Problem
from policies.rego.builtins import ARITY
from policies.rego.names import DOCUMENTS, Names
from policies.rego.outputs import output_calls
from policies.rego.tree import Module, Node, Rule, bracketed

_COMPREHENSIONS: Final = frozenset({"ArrayCompr", "SetCompr", "ObjectCompr"})
_CLOSED: Final = _COMPREHENSIONS | {"Every"}
"""What has variables of its own."""
_ANY: Final = "_"
Scope = frozenset[str]
Variables = tuple[str, ...]


class _Seen(NamedTuple):
    """Local variables outside of what has its own; of each reference with brackets, those of its base and in them."""

    variables: Variables
    brackets: tuple[tuple[Variables, Variables], ...]


def check_safety(names: Names, module: Module) -> Iterator[Problem]:
    """Every variable to which neither its body, nor what that stands in, nor the bundle gives a value."""
    safety = _Safety(names, module)
    for rule in module.rules:
        if not rule.default:
            yield from safety.of_rule(rule)


class _Safety:
    def __init__(self, names: Names, module: Module) -> None:
        self._names = names
        self._module = module
        self._outputs = output_calls(names, module)
        self._known: dict[int, _Seen] = {}

    def of_rule(self, rule: Rule) -> Iterator[Problem]:
        head: Node = next(iter(rule.node["head"].values()))
        arguments = frozenset(self._variables(head.get("args") or []))
        bodies = rule.node["bodies"]
        given = [[*bracketed(head["refr"]), head.get("key"), head.get("assign")]]
        given += [[body["assign"]] for body in bodies[1:]]
        for at, terms in enumerate(given):
            query = bodies[at]["query"] if bodies else {"stmts": []}
            yield from self._body(query, terms, arguments)

    def _body(self, query: Node, terms: object, outer: Scope) -> Iterator[Problem]:
        """A body, and the terms that it is there for, inside of what has the variables `outer`."""
        scope = self._safe(query["stmts"], outer)
        for statement in query["stmts"]:
            for part, named in self._parts(statement["literal"]):
                yield from self._used(part, (scope - named) | outer | {_ANY})
        yield from self._used(terms, scope | frozenset(self._iterated(terms, scope)))

    def _parts(self, literal: Node) -> Iterator[tuple[object, Scope]]:
        """The parts of a statement, and the variables that it declares, which a part cannot be made of."""
        kind, node = next(iter(literal.items()))
        if kind == "SomeIn":
            declared = [node["key"], node["value"]]
            yield node["collection"], frozenset(self._variables(declared))
            yield declared, frozenset()
        elif kind == "Expr" and node["expr"].get("AssignExpr", {}).get("op") == "ColEq":
            assigned = node["expr"]["AssignExpr"]
            yield assigned["rhs"], frozenset(self._variables(assigned["lhs"]))
            yield assigned["lhs"], frozenset()
        else:
            yield literal, frozenset()

    def _used(self, part: object, scope: Scope) -> Iterator[Problem]:
        """The variables below a part that have no value; comprehensions and `every` have some of their own."""
        for kind, node in _own(part):
            if kind == "Var":
                name = str(node["value"])
                if name not in scope and self._is_local(name):
                    message = f"nothing gives the variable {name} a value" if name != _ANY else "`_` has no value here"
                    yield self._module.problem(node, "unsafe", message, "correct the name, or bind it in the body")
            elif kind == "Every":
                named = {self._module.source({"span": each}) for each in (node["key"], node["value"]) if each}
                yield from self._used(node["domain"], scope)
                yield from self._body(node["query"], [], scope | named)
            elif kind in _COMPREHENSIONS:
                terms = [each for name, each in node.items() if name in ("term", "key", "value")]
                yield from self._body(node["query"], terms, scope - {_ANY})

    def _safe(self, statements: list[Node], outer: Scope) -> Scope:
        """What has a value once all statements of a body hold, in whatever order they are written."""
        scope, before, open_ones = set(outer), -1, statements
        while len(scope) != before:
            before = len(scope)
            for statement in open_ones:
                scope.update(self._bound(statement["literal"], scope))
            # From the other end the next time: what is written in either order takes two rounds, not one for each.
            open_ones = [each for each in reversed(open_ones) if not self._have_values(each["literal"], scope)]
        return frozenset(scope)

    def _bound(self, literal: Node, scope: AbstractSet[str]) -> Iterator[str]:
        """The variables that a statement gives values to, where those in `scope` have theirs."""
        kind, node = next(iter(literal.items()))
        if kind == "SomeIn":
            yield from self._iterated(node["collection"], scope)
            yield from self._variables([node["key"], node["value"]])
        elif kind == "Expr":
            yield from self._iterated(node, scope)
            (kind, expression), *_ = node["expr"].items()
            if kind == "AssignExpr":
                one_way = expression["op"] == "ColEq"
                yield from self._unified(expression["lhs"], expression["rhs"], scope, one_way=one_way)
            elif kind == "Call" and self._has_output(expression):
                *given, output = expression["params"]
                if self._have_values(given, scope):
                    yield from self._variables(output)

    def _has_output(self, call: Node) -> bool:
        """Whether the last argument of a call that is a statement is its result, as may be of unknown builtins."""
        function, name = self._names.called(self._module, call)
        given = len(call["params"])
        return id(call) in self._outputs or (function is None and given > 0 and ARITY.get(name, given - 1) == given - 1)

    def _unified(self, left: Node, right: Node, scope: AbstractSet[str], *, one_way: bool) -> Iterator[str]:
        (kind, one), *_ = left.items()
        other = right.get(kind)
        if kind == "Array" and other is not None and len(one["items"]) == len(other["items"]):
            for each in zip(one["items"], other["items"], strict=True):
                yield from self._unified(*each, scope, one_way=one_way)
            return
        both_ways = kind == "Object" and other is not None and not one_way  # their keys may be in another order
        if both_ways:
            yield from self._variables([left, right])
        elif one_way or self._have_values(right, scope):
            yield from self._variables(left)
        elif not one_way and self._have_values(left, scope):
            yield from self._variables(right)

    def _iterated(self, part: object, scope: AbstractSet[str]) -> Iterator[str]:
        """The variables by which references go through all there is: `input.roles[i]`."""
        for base, indices in self._seen(part).brackets:
            if all(name in scope for name in base):
                yield from indices

    def _have_values(self, part: object, scope: AbstractSet[str]) -> bool:
        return all(name in scope for name in self._seen(part).variables)

    def _variables(self, part: object) -> Variables:
        return self._seen(part).variables

    def _seen(self, part: object) -> _Seen:
        """What is found in a part; remembered of a node, as a body is gone through until nothing more comes of it."""
        found = self._known.get(id(part))
        if found is None:
            found = self._look(part)
            if isinstance(part, dict):
                self._known[id(part)] = found
        return found

    def _look(self, part: object) -> _Seen:
        variables: dict[str, None] = {}
        brackets = []
        for kind, node in _own(part):
            if kind == "Var" and self._is_local(str(node["value"])):
                variables[str(node["value"])] = None
            elif kind == "Every":
                variables |= dict.fromkeys(self._variables(node["domain"]))
            elif kind == "RefBrack":
                base, indices = _base(node["refr"]), list(bracketed({kind: node}))
                brackets.append((self._variables(base), self._variables(indices)))
        return _Seen(tuple(variables), tuple(brackets))

    def _is_local(self, name: str) -> bool:
        return name not in DOCUMENTS and self._names.resolve(self._module, (name,)) == (name,)


def _own(part: object) -> Iterator[tuple[str, Node]]:
    """The expressions of a part, outermost first: comprehensions and `every`s too, without what is inside of those."""
    stack = [part]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(reversed(part))
        elif isinstance(part, dict):
            kind, node = next(iter(part.items()), ("", None))
            if kind[:1].isupper() and isinstance(node, dict):
                yield kind, node
            if kind not in _CLOSED:
                stack.extend(each for name, each in reversed(part.items()) if name != "fcn")


def _base(reference: Node) -> Node:
    """What a reference begins with."""
    kind, node = next(iter(reference.items()))
    return _base(node["refr"]) if kind in ("RefBrack", "RefDot") else reference
