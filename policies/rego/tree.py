"""A parsed Rego module: its package, imports and rules, and walks over its syntax tree.

The tree is the engine's own (`Engine.get_ast_as_json`): an expression is an object with one key, its kind, whose
value has a `span` in bytes. What differs from OPA is found in the tree that is evaluated, not in a second reading.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from regorus import Engine

from policies.errors import Problem
from policies.rego.spans import mend
from policies.rego.spelling import respell

Node = Mapping[str, Any]
Path = tuple[str | None, ...]
"""Steps of a reference from its root; None where a step is only known when evaluated."""

MAX_FILE: Final = 1_048_576
MAX_LINES: Final = 20_000
MAX_COLUMN: Final = 65_536


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule (a default, or a head with its bodies): its full static path and where it stands.

    `open` says that the head goes on with a variable, so that any longer path may be this rule.
    """

    path: tuple[str, ...]
    open: bool
    function: bool
    default: bool
    kind: str
    node: Node


@dataclass(slots=True)
class Module:
    """One `.rego` file."""

    file: str
    text: str
    package: tuple[str, ...]
    imports: dict[str, tuple[str, ...]]
    tree: Node
    rules: list[Rule] = field(default_factory=list)
    respelled: bool = False
    """Whether the text is not as it was written (spelling.py)."""

    @property
    def negates_bodies(self) -> bool:
        """Whether a negation takes its operands with it, as `import future.keywords.not` has it."""
        paths = (path_of(node["refr"]) for node in self.tree["imports"])
        return any(path in (("future", "keywords"), ("future", "keywords", "not")) for path in paths)

    def place(self, node: Node) -> tuple[int, int]:
        """Line and column, from 1, at which a node begins."""
        before = self.text.encode()[: node["span"]["start"]]
        line = before.count(b"\n") + 1
        return line, len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1

    def source(self, node: Node) -> str:
        """The text of a node."""
        return self.text.encode()[node["span"]["start"] : node["span"]["end"]].decode(errors="replace")

    def problem(self, node: Node, code: str, message: str, remedy: str = "") -> Problem:
        """A problem at a node."""
        line, column = self.place(node)
        return Problem(self.file, line, column, code, message, remedy)


def new_engine() -> Engine:
    """An engine with the limits on source text that all of Cordon uses."""
    engine = Engine()
    engine.set_policy_length_config(max_col=MAX_COLUMN, max_file_bytes=MAX_FILE, max_lines=MAX_LINES)
    return engine


def parse(file: str, text: str) -> Module:
    """Parse one module with the engine; RuntimeError as the engine raises it."""
    written, text = text, respell(text)
    engine = new_engine()
    engine.add_policy(file, text)
    tree = json.loads(engine.get_ast_as_json())[0]["ast"]
    mend(tree, text)
    package = tuple(step or "" for step in path_of(tree["package"]["refr"]))
    module = Module(file, text, ("data", *package), {}, tree, respelled=text != written)
    module.imports.update(_imports(module))
    module.rules = [_rule(module, node) for node in tree["rules"]]
    return module


def _imports(module: Module) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for node in module.tree["imports"]:
        path = tuple(step or "" for step in path_of(node["refr"]))
        if path[0] in ("data", "input"):
            alias = node.get("as")
            found[module.source({"span": alias}) if alias else path[-1]] = path
    return found


def _rule(module: Module, node: Node) -> Rule:
    kind, rule = next(iter(node.items()))
    head_kind, head = (kind, rule) if kind == "Default" else next(iter(rule["head"].items()))
    static: list[str] = []
    path = path_of(head["refr"])
    for step in path:
        if step is None:
            break
        static.append(step)
    function = head_kind == "Func" or bool(head.get("args"))
    opened = len(static) < len(path)
    return Rule((*module.package, *static), opened, function, kind == "Default", head_kind, rule)


def path_of(expression: Node) -> Path:
    """The steps of a reference: `a.b["c"][i].d` is ("a", "b", "c", None, "d"); () for what is no reference."""
    kind, node = next(iter(expression.items()))
    if kind == "Var":
        return (str(node["value"]),)
    if kind == "RefDot":
        base = path_of(node["refr"])
        return (*base, str(node["field"][1])) if base else ()
    if kind == "RefBrack":
        base = path_of(node["refr"])
        index_kind, index = next(iter(node["index"].items()))
        step = str(index["value"]) if index_kind in ("String", "RawString") else None
        return (*base, step) if base else ()
    return ()


def expressions(node: object) -> Iterator[tuple[str, Node]]:
    """All expressions below a part of the tree, outermost first, as (kind, node)."""
    stack = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(reversed(part))
        elif isinstance(part, dict):
            if len(part) == 1:
                kind, value = next(iter(part.items()))
                if kind[0].isupper() and isinstance(value, dict):
                    yield kind, value
            stack.extend(reversed(part.values()))


def bodies(node: object) -> Iterator[Node]:
    """All bodies below a part of the tree: of rules, comprehensions and `every`."""
    stack = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(reversed(part))
        elif isinstance(part, dict):
            if "stmts" in part:
                yield part
            stack.extend(reversed(part.values()))


def statements(node: object) -> Iterator[Node]:
    """All statements of these bodies."""
    for body in bodies(node):
        yield from body["stmts"]


def references(node: object) -> Iterator[tuple[Path, Node]]:
    """The longest references below a part of the tree, and those inside their brackets."""
    stack = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(reversed(part))
        elif isinstance(part, dict):
            kind, value = next(iter(part.items()), ("", None))
            if len(part) == 1 and kind in REFERENCES and isinstance(value, dict):
                yield path_of(part), value
                stack.extend(bracketed(part))
            else:
                stack.extend(reversed(part.values()))


REFERENCES: Final = frozenset({"Var", "RefDot", "RefBrack"})


def bracketed(expression: Node) -> Iterator[Node]:
    """What stands in the brackets of a reference, and its base where that is no reference."""
    while True:
        kind, node = next(iter(expression.items()))
        if kind == "RefBrack":
            yield node["index"]
        elif kind != "RefDot":
            if kind != "Var":
                yield expression
            return
        expression = node["refr"]
