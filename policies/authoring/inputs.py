"""References to `input` that the documented input does not have, such as `input.principle`.

What is certain is an error: a part of the input that can never be there, read where the gateway asks for decisions.
Where something else may stand in for the input, or where the author has provided for its absence, it is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from policies.authoring.layout import Layout, Missing, inner, joined, remedy
from policies.authoring.scope import Layouts, Scope, replaces_input
from policies.errors import Problem
from policies.rego.names import Names
from policies.rego.recursion import dependencies
from policies.rego.tree import REFERENCES, Module, Node, Rule, bracketed

CODE: Final = "unknown_input"
UNCHECKED: Final = "unchecked"
_COMPREHENSIONS: Final = frozenset({"ArrayCompr", "SetCompr", "ObjectCompr"})

Path = tuple[str, ...]


class Inputs:
    """The check of all rules of a bundle.

    `inputs` says what `input` looks like by the path of a rule (None where that cannot be said), `live` which rules
    are evaluated for decisions, `whole` is the layout to look for what was meant.
    """

    def __init__(
        self, names: Names, inputs: Mapping[Path, Layout | None], live: frozenset[Path], whole: Layout
    ) -> None:
        self._names, self._inputs, self._live, self._whole = names, inputs, live, whole
        self._layouts = Layouts(names, inputs)
        self._calls: dict[Path, list[tuple[Sequence[Node], Scope]]] = {}
        self._visiting: tuple[Module, bool] | None = None
        self._problems: list[Problem] = []

    def problems(self) -> list[Problem]:
        """All of them, in order of place. Callers come before the functions they call, whose arguments they tell."""
        for path in _callers_first(self._names):
            for module, rule in self._names.rules[path]:
                self._visiting = module, path in self._live
                try:
                    self._rule(module, rule)
                except RecursionError:
                    line, column = module.place(rule.node)
                    message = f"{'.'.join(path)} is nested too deeply to be compared with the documented input"
                    self._problems.append(
                        Problem(module.file, line, column, UNCHECKED, message, "divide it", "warning")
                    )
        return sorted(set(self._problems))

    def _rule(self, module: Module, rule: Rule) -> None:
        scope = Scope(module, self._inputs.get(rule.path))
        if rule.default:
            return
        head = rule.node["head"][rule.kind]
        arguments = head.get("args") or []
        known = self._called_with(rule.path, len(arguments)) if arguments else []
        for place, argument in enumerate(arguments):
            kind, node = next(iter(argument.items()))
            name = {str(node["value"]): known[place]} if kind == "Var" else dict.fromkeys(_variables(argument))
            scope = scope.inside(name)
        bodies = rule.node["bodies"]
        first = self._layouts.body(bodies[0]["query"]["stmts"], scope) if bodies else scope
        self._visit([value for name, value in head.items() if name not in ("refr", "args")], first)
        self._visit(list(bracketed(head["refr"])), first)
        for body in bodies:
            inside = self._statements(body["query"]["stmts"], scope)
            self._visit(body["assign"], inside)

    def _called_with(self, function: Path, count: int) -> list[Layout | None]:
        """What each argument of a function can look like, by its calls for decisions."""
        calls = self._calls.get(function, [])
        return [
            joined(*(self._layouts.of(given[place], scope) if place < len(given) else None for given, scope in calls))
            for place in range(count)
        ]

    def _statements(self, statements: Sequence[Node], scope: Scope) -> Scope:
        scope = self._layouts.body(list(statements), scope)
        for statement in statements:
            at = scope.under_mock() if replaces_input(self._names, scope.module, statement) else scope
            kind, literal = next(iter(statement["literal"].items()))
            if kind == "Every":
                self._every(literal, at)
            elif kind != "SomeVars":
                self._visit(literal, at)
            self._visit([each["as"] for each in statement.get("with_mods") or ()], scope)
        return scope

    def _every(self, literal: Node, scope: Scope) -> None:
        self._visit(literal["domain"], scope)
        try:
            value = inner(self._layouts.of(literal["domain"], scope), None)
        except Missing:
            value = None
        declared: dict[str, Layout | None] = {scope.module.source({"span": literal["value"]}): value}
        if literal["key"]:
            declared[scope.module.source({"span": literal["key"]})] = None
        self._statements(literal["query"]["stmts"], scope.inside(declared))

    def _visit(self, part: object, scope: Scope) -> None:
        if isinstance(part, list):
            for item in part:
                self._visit(item, scope)
        elif isinstance(part, dict):
            kind, node = next(iter(part.items()), ("", None))
            if len(part) == 1 and kind in REFERENCES and isinstance(node, dict):
                self._reference(part, scope)
            elif len(part) == 1 and kind in _COMPREHENSIONS and isinstance(node, dict):
                inside = self._statements(node["query"]["stmts"], scope)
                self._visit([value for name, value in node.items() if name != "query"], inside)
            elif len(part) == 1 and kind == "Call" and isinstance(node, dict):
                self._call(node, scope)
            else:
                self._visit(list(part.values()), scope)

    def _reference(self, expression: Node, scope: Scope) -> None:
        self._visit(list(bracketed(expression)), scope)
        base, path = self._layouts.base(expression, scope)
        try:
            for step in path:
                at = step.node
                base = inner(base, step.key)
        except Missing as missing:
            self._report(scope.module, at, missing)

    def _call(self, node: Node, scope: Scope) -> None:
        function, name = self._names.called(scope.module, node)
        if function is not None and self._visiting and self._visiting[1]:
            self._calls.setdefault(function, []).append((node["params"], scope))
        if name == "object.get" and len(node["params"]) == 3:
            self._defaulted(node["params"], scope)
        self._visit(node["params"], scope)

    def _defaulted(self, parameters: Sequence[Node], scope: Scope) -> None:
        """`object.get` with a key that is never there always gives its default; the author may want just that."""
        layout = self._layouts.of(parameters[0], scope)
        kind, key = next(iter(parameters[1].items()))
        keys = key["items"] if kind == "Array" else [parameters[1]]
        for each in keys:
            kind, literal = next(iter(each.items()))
            text = str(literal["value"]) if kind in ("String", "RawString") else None
            try:
                layout = inner(layout, text)
            except Missing as missing:
                self._report(scope.module, literal, missing, certain=False)
                return

    def _report(self, module: Module, node: Node, missing: Missing, *, certain: bool = True) -> None:
        place, key = missing.layout.path, missing.key
        if missing.kind == "object":
            message = f"there is no {place}.{key} in the documented input"
        elif missing.kind == "array":
            message = f"{place} is an array and has no {key}"
        else:
            message = f"{place} is a single value, with nothing below it"
        live = self._visiting is not None and self._visiting[1]
        line, column = module.place(node)
        severity = "error" if certain and live else "warning"
        self._problems.append(Problem(module.file, line, column, CODE, message, remedy(missing, self._whole), severity))


def _variables(part: object) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from _variables(item)
    elif isinstance(part, dict):
        if "Var" in part:
            yield str(part["Var"]["value"])
        else:
            yield from _variables(list(part.values()))


def _callers_first(names: Names) -> list[Path]:
    """All rules, each after those that read it (there are no circles among admitted rules)."""
    graph = dependencies(names)
    order: list[Path] = []
    done: set[Path] = set()
    for root in sorted(graph):
        work = [(root, iter(sorted(graph[root])))]
        if root in done:
            continue
        done.add(root)
        while work:
            path, edges = work[-1]
            following = next((edge for edge in edges if edge not in done), None)
            if following is None:
                order.append(path)
                work.pop()
            else:
                done.add(following)
                work.append((following, iter(sorted(graph[following]))))
    return order[::-1]
