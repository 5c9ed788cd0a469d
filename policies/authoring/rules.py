"""Rules that nothing reaches, rules that can never matter, and rules that no test reaches.

Reported as shadowed is only what is certain from the text: no evaluation could tell the difference.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from policies.authoring.scope import replaces_input
from policies.errors import Problem
from policies.rego.names import Names
from policies.rego.recursion import parts
from policies.rego.tree import REFERENCES, Module, Node, Rule, bracketed, expressions, path_of

Path = tuple[str, ...]
SYSTEM: Final = ("data", "system")
"""What lies below is asked for by OPA itself (`data.system.log.mask`), so it needs no caller."""

_TEST: Final = ("test_", "todo_test_")
_TOKEN: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|#[^\n]*|\s+|.', re.DOTALL)
_VARYING: Final = frozenset(
    {"Var", "RefDot", "RefBrack", "Call", "ArrayCompr", "SetCompr", "ObjectCompr", "ArithExpr", "BinExpr", "Membership"}
)


class Reach:
    """Which rules read which others, apart from what they read while a `with` replaces the input."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._plain: dict[Path, set[Path]] = {}
        self._mocked: dict[Path, set[Path]] = {}
        for path, found in names.rules.items():
            self._plain[path], self._mocked[path] = set(), set()
            for module, rule in found:
                self._read(path, module, parts(rule.node), mocked=False)

    def plain(self, roots: Collection[Path]) -> frozenset[Path]:
        """The rules that are evaluated for these, with the same input; those themselves too."""
        return self._closed(roots, self._plain)

    def mocked(self, rules: Collection[Path]) -> frozenset[Path]:
        """The rules that these have evaluated with another input than their own."""
        begun = {each for path in rules for each in self._mocked.get(path, ())}
        return self.all(begun)

    def all(self, roots: Collection[Path]) -> frozenset[Path]:
        """The rules that are evaluated for these with any input."""
        return self._closed(roots, {path: self._plain[path] | self._mocked[path] for path in self._plain})

    def _read(self, path: Path, module: Module, part: object, *, mocked: bool) -> None:
        into = self._mocked if mocked else self._plain
        stack = [part]
        while stack:
            part = stack.pop()
            if isinstance(part, list):
                stack.extend(part)
            elif isinstance(part, dict):
                if "literal" in part and not mocked and replaces_input(self._names, module, part):
                    self._read(path, module, part["literal"], mocked=True)
                    stack.extend(each["as"] for each in part["with_mods"])
                    continue
                if len(part) == 1 and next(iter(part)) in REFERENCES:
                    into[path].update(self._names.reached(self._names.resolve(module, path_of(part))))
                    stack.extend(bracketed(part))
                else:
                    stack.extend(part.values())

    @staticmethod
    def _closed(roots: Collection[Path], graph: Mapping[Path, set[Path]]) -> frozenset[Path]:
        seen: set[Path] = set()
        ahead = [path for path in roots if path in graph]
        while ahead:
            path = ahead.pop()
            if path not in seen:
                seen.add(path)
                ahead.extend(graph[path])
        return frozenset(seen)


def entries(names: Names, asked: Collection[str]) -> list[Path]:
    """The rules that are asked from outside: those configured and those that OPA asks itself."""
    return [tuple(rule.split(".")) for rule in asked] + [path for path in names.rules if path[:2] == SYSTEM]


def tests(names: Names) -> list[Path]:
    """The paths of all tests, those that are skipped among them."""
    return [path for path, found in names.rules.items() if path_of_test(*found[0])]


def path_of_test(module: Module, rule: Rule) -> Path | None:
    """The name of a rule up to the step that makes it a test; None for what is none, as functions are."""
    if rule.function:
        return None
    for place in range(len(module.package), len(rule.path)):
        if rule.path[place].startswith(_TEST):
            return rule.path[: place + 1]
    return None


def unreached(names: Names, reach: Reach, asked: Collection[str], served: Collection[str]) -> Iterator[Problem]:
    """Rules that neither a decision nor a test reaches, and served rules that no test does."""
    live = reach.all(entries(names, asked))
    tried = reach.all(tests(names))
    for path in sorted(set(names.rules) - live - tried):
        message = f"{'.'.join(path)} is reached by no decision and no test"
        yield _at(names, path, "unreachable", message, "use it, or take it out", "warning")
    if not tried:
        message = "the bundle has no tests"
        yield Problem(".", 0, 0, "no_tests", message, "write rules named test_… in files named …_test.rego", "note")
        return
    for path in sorted(live - tried):
        if names.rules[path][0][0].file in served:
            message = f"no test reaches {'.'.join(path)}"
            yield _at(names, path, "untested", message, "write a rule named test_… that evaluates it", "note")


def shadowed(names: Names) -> Iterator[Problem]:
    """Bodies and defaults that can never matter."""
    for path, found in names.rules.items():
        name = ".".join(path)
        for module, rule in found:
            yield from _behind(module, rule, name)
        always = {_value(module, rule): (module, rule) for module, rule in reversed(found) if _unconditional(rule)}
        seen: dict[str, tuple[Module, Rule]] = {}
        for module, rule in found:
            if rule.default and always:
                yield _never(module, rule.node, f"the default of {name} never counts: it is always defined")
                continue
            text = _plain(module.source(rule.node))
            if text in seen:
                yield _never(
                    module, rule.node, f"this says the same as the definition of {name} at {_place(*seen[text])}"
                )
                continue
            seen[text] = module, rule
            other = None if rule.default or rule.function else always.get(_value(module, rule))
            if other and other[1] is not rule and len(rule.node["bodies"]) < 2:
                yield _never(module, rule.node, f"{name} has this value always, by {_place(*other)}")


def _place(module: Module, rule: Rule) -> str:
    return f"{module.file}:{module.place(rule.node)[0]}"


def _behind(module: Module, rule: Rule, name: str) -> Iterator[Problem]:
    """What stands behind a body that always holds, and has a value that is always there."""
    bodies = rule.node.get("bodies") or []
    for place, body in enumerate(bodies[:-1]):
        given = body["assign"] if place else rule.node["head"][rule.kind].get("assign")
        if _holds(body) and _constant(given):
            message = f"this `else` of {name} is never reached: what stands before it always holds"
            yield _never(module, bodies[place + 1], message)
            return


def _unconditional(rule: Rule) -> bool:
    """Whether a complete rule is always defined, with one value that is written out."""
    if rule.default or rule.function or rule.open or rule.kind != "Compr":
        return False
    bodies = rule.node["bodies"]
    return (not bodies or _holds(bodies[0])) and _constant(rule.node["head"]["Compr"]["assign"])


def _holds(body: Node) -> bool:
    """Whether a body is nothing but `true`."""
    return all(
        statement["literal"].get("Expr", {}).get("expr", {}).get("Bool", {}).get("value") is True
        for statement in body["query"]["stmts"]
    )


def _constant(assign: Node | None) -> bool:
    return assign is None or not any(kind in _VARYING for kind, _ in expressions(assign["value"]))


def _value(module: Module, rule: Rule) -> str | None:
    """The text of a rule's value where that is written out, `true` where none is written."""
    if rule.default or rule.kind != "Compr" or rule.open:
        return None
    assign = rule.node["head"]["Compr"]["assign"]
    if not _constant(assign):
        return None
    return _plain(module.source(next(iter(assign["value"].values())))) if assign else "true"


def _plain(text: str) -> str:
    """Source text without comments, with any run of blanks as one."""
    tokens = (match[0] for match in _TOKEN.finditer(text) if match[0][0] != "#")
    return "".join(" " if token.isspace() else token for token in tokens).strip()


def _never(module: Module, node: Node, message: str) -> Problem:
    line, column = module.place(node)
    return Problem(module.file, line, column, "shadowed", message, "take it out", "warning")


def _at(names: Names, path: Path, code: str, message: str, remedy: str, severity: str) -> Problem:
    module, rule = names.rules[path][0]
    line, column = module.place(rule.node)
    return Problem(module.file, line, column, code, message, remedy, severity)
