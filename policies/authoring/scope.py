"""What local names stand for: which of them are parts of `input`, and which.

A name is followed through `:=`, `=`, `some … in`, `every`, comprehensions, rules that are such a part, and arguments of
functions where all calls are known. Everything else stands for anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from policies.authoring.layout import Layout, Missing, collection, inner
from policies.rego.names import Names
from policies.rego.tree import Module, Node, expressions, path_of


@dataclass(frozen=True, slots=True)
class Scope:
    """The names at one place. `input` is what the document looks like there; `mocked` that a `with` replaces it."""

    module: Module
    input: Layout | None
    variables: Mapping[str, Layout | None] = field(default_factory=dict)
    mocked: bool = False

    def inside(self, variables: Mapping[str, Layout | None]) -> Scope:
        """The scope with these names too, which hide others of the same name."""
        return replace(self, variables={**self.variables, **variables})

    def under_mock(self) -> Scope:
        """The scope of an expression for which `with` puts something else in place of the input."""
        return replace(self, input=None, mocked=True)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a reference: its key (None if only known when evaluated) and where that is written."""

    key: str | None
    node: Node


def steps(expression: Node) -> tuple[Node, list[Step]]:
    """The base of a reference and its steps."""
    found: list[Step] = []
    while True:
        kind, node = next(iter(expression.items()))
        if kind == "RefDot":
            span, key = node["field"]
            found.append(Step(str(key), {"span": span}))
        elif kind == "RefBrack":
            index_kind, index = next(iter(node["index"].items()))
            key = str(index["value"]) if index_kind in ("String", "RawString") else None
            found.append(Step(key, index))
        else:
            return expression, found[::-1]
        expression = node["refr"]


class Layouts:
    """What expressions can look like, in a set of modules."""

    def __init__(self, names: Names, inputs: Mapping[tuple[str, ...], Layout | None]) -> None:
        """`inputs` says what `input` looks like by the path of a rule; None, or no entry, where it can be anything."""
        self._names = names
        self._inputs = inputs
        self._rules: dict[tuple[str, ...], Layout | None] = {}

    def of(self, expression: Node, scope: Scope) -> Layout | None:
        """What the value of an expression can look like; None for anything."""
        kind, node = next(iter(expression.items()))
        if kind in ("ArrayCompr", "SetCompr"):
            items = self.of(node["term"], self.body(node["query"]["stmts"], scope))
            return collection("array" if kind == "ArrayCompr" else "set", items) if items else None
        if kind not in ("Var", "RefDot", "RefBrack"):
            return None
        base, path = self.base(expression, scope)
        try:
            for step in path:
                base = inner(base, step.key)
        except Missing:
            return None
        return base

    def base(self, expression: Node, scope: Scope) -> tuple[Layout | None, list[Step]]:
        """What a reference begins with (a part of `input`, or anything) and its further steps."""
        root, path = steps(expression)
        kind, node = next(iter(root.items()))
        if kind != "Var":
            return self.of(root, scope), path
        name = str(node["value"])
        if name in scope.variables:
            return scope.variables[name], path
        absolute = self._names.resolve(scope.module, (name, *(step.key for step in path)))
        if absolute[:1] == ("input",):
            return self._imported(absolute[1 : len(absolute) - len(path)], scope), path
        if absolute[:1] == ("data",) and not scope.mocked:
            for length in range(len(absolute), 1, -1):
                known = tuple(step for step in absolute[:length] if step is not None)
                if len(known) == length and known in self._names.rules:
                    return self._rule(known), path[len(path) - (len(absolute) - length) :]
        return None, path

    def _imported(self, path: tuple[str | None, ...], scope: Scope) -> Layout | None:
        layout = scope.input
        try:
            for step in path:
                layout = inner(layout, step)
        except Missing:
            return None
        return layout

    def _rule(self, path: tuple[str, ...]) -> Layout | None:
        """What a rule's value can look like, where it has one definition and that is a part of `input`."""
        if path in self._rules:
            return self._rules[path]
        self._rules[path] = None
        found = self._names.rules[path]
        module, rule = found[0]
        if len(found) != 1 or rule.function or rule.open or rule.kind not in ("Compr", "Set"):
            return None
        bodies = rule.node["bodies"]
        if len(bodies) > 1:
            return None
        scope = Scope(module, self._inputs.get(path))
        scope = self.body(bodies[0]["query"]["stmts"] if bodies else (), scope)
        head = rule.node["head"][rule.kind]
        if rule.kind == "Set":
            items = self.of(head["key"], scope) if head["key"] else None
            self._rules[path] = collection("set", items) if items else None
        elif head["assign"]:
            self._rules[path] = self.of(head["assign"]["value"], scope)
        return self._rules[path]

    def body(self, statements: list[Node] | tuple[Node, ...], scope: Scope) -> Scope:
        """The scope of the statements of a body: with the names that they declare."""
        declared: dict[str, Layout | None] = dict.fromkeys(_declared(statements, scope, self._names))
        known = {**scope.variables, **declared}
        scope = replace(scope, variables=known)
        for statement in statements:
            kind, literal = next(iter(statement["literal"].items()))
            at = scope.under_mock() if replaces_input(self._names, scope.module, statement) else scope
            if kind == "SomeIn":
                known.update(self._iterated(literal, at))
            elif kind == "Expr" and "AssignExpr" in literal["expr"]:
                known.update(self._assigned(literal["expr"]["AssignExpr"], at, declared))
        return scope

    def _iterated(self, literal: Node, scope: Scope) -> dict[str, Layout | None]:
        kind, node = next(iter(literal["value"].items()))
        if kind != "Var":
            return {}
        try:
            return {str(node["value"]): inner(self.of(literal["collection"], scope), None)}
        except Missing:
            return {}

    def _assigned(self, node: Node, scope: Scope, declared: Mapping[str, object]) -> dict[str, Layout | None]:
        for side, other in ((node["lhs"], node["rhs"]), (node["rhs"], node["lhs"])):
            name = str(side["Var"]["value"]) if "Var" in side else ""
            unknown = name in declared and scope.variables[name] is None
            if unknown and ("Var" not in other or node["op"] == "ColEq"):
                return {name: self.of(other, scope)}
        return {}


def replaces_input(names: Names, module: Module, statement: Node) -> bool:
    """Whether a `with` of a statement puts something in place of `input`, or of a part of it."""
    return any(
        names.resolve(module, path_of(each["refr"]))[:1] == ("input",) for each in statement.get("with_mods") or ()
    )


def _declared(statements: list[Node] | tuple[Node, ...], scope: Scope, names: Names) -> Iterator[str]:
    """The names that a body declares, not those of its comprehensions."""
    for statement in statements:
        kind, literal = next(iter(statement["literal"].items()))
        if kind == "SomeVars":
            yield from (scope.module.source({"span": span}) for span in literal["vars"])
        elif kind == "SomeIn":
            yield from _names([literal["key"], literal["value"]])
        elif kind == "Expr" and "AssignExpr" in literal["expr"]:
            node = literal["expr"]["AssignExpr"]
            if node["op"] == "ColEq":
                yield from _names(node["lhs"])
            else:
                for side in (node["lhs"], node["rhs"]):
                    yield from (name for name in _pattern(side) if _is_new(name, scope, names))


def _is_new(name: str, scope: Scope, names: Names) -> bool:
    resolved = names.resolve(scope.module, (name,))
    return name not in scope.variables and resolved == (name,) and name not in ("input", "data")


def _pattern(side: Node) -> Iterator[str]:
    """The variables that `=` may bind on one side: alone, or within an array or object."""
    kind, _ = next(iter(side.items()))
    if kind in ("Var", "Array", "Object"):
        yield from _names(side)


def _names(part: object) -> Iterator[str]:
    for kind, node in expressions(part):
        if kind == "Var":
            yield str(node["value"])
