"""Imports, written out: the engine evaluates a whole package when a rule of it is reached through an import.

In doing so it loses results (a partial rule of two files comes out empty), so each use of an imported name becomes
the full path, and the import goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from policies.errors import Problem
from policies.rego.edits import Edit
from policies.rego.names import Names
from policies.rego.tree import Module, Node, expressions, path_of, statements


def write_out(names: Names, module: Module) -> list[Edit]:
    """The edits that replace imported names by their paths."""
    edits = []
    for kind, node in expressions(module.tree["rules"]):
        path = module.imports.get(str(node["value"])) if kind == "Var" else None
        if path:
            edits.append(Edit(node["span"]["start"], node["span"]["end"], written(path)))
    for node in module.tree["imports"]:
        if path_of(node["refr"])[0] in ("data", "input"):
            end = node["as"]["end"] if node.get("as") else node["span"]["end"]
            edits.append(Edit(node["span"]["start"], end, ""))
    return edits


def written(path: tuple[str, ...]) -> str:
    """A path as a reference."""
    plain = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
    return path[0] + "".join(f".{step}" if plain.fullmatch(step) else f"[{json.dumps(step)}]" for step in path[1:])


def check_imports(names: Names, module: Module) -> Iterator[Problem]:
    """Names that are imported and declared again, so that their meaning would change when written out."""
    for name, node in declared(module):
        if name in module.imports:
            message = f"{name} is imported and is a variable or rule here as well"
            yield module.problem(node, "import", message, "rename the variable, or the import by `as`")
    for rule in module.rules:
        if rule.path[len(module.package)] in module.imports:
            message = f"{rule.path[len(module.package)]} is imported and is a rule here as well"
            yield module.problem(rule.node, "import", message, "rename the rule, or the import by `as`")
    for node in module.tree["imports"]:
        path = tuple(step or "" for step in path_of(node["refr"]))
        if path == ("data",) or (path == module.package[: len(path)] and path[0] == "data"):
            yield module.problem(node, "import", "a package that imports itself is not supported", "leave the path out")


def declared(module: Module) -> Iterator[tuple[str, Node]]:
    """Variables by their declarations: arguments, `some`, `every`, `:=`."""
    for rule in module.rules:
        head = next(iter(rule.node["head"].values())) if "head" in rule.node else {}
        yield from _variables(head.get("args", []))
    for kind, node in expressions(module.tree["rules"]):
        if kind == "AssignExpr" and node["op"] == "ColEq":
            yield from _variables(node["lhs"])
    for statement in statements(module.tree["rules"]):
        kind, literal = next(iter(statement["literal"].items()))
        if kind == "SomeVars":
            yield from ((module.source({"span": each}), {"span": each}) for each in literal["vars"])
        elif kind == "SomeIn":
            yield from _variables([literal["key"], literal["value"]])
        elif kind == "Every":
            spans = [each for each in (literal["key"], literal["value"]) if each]
            yield from ((module.source({"span": each}), {"span": each}) for each in spans)


def _variables(part: object) -> Iterator[tuple[str, Node]]:
    for kind, node in expressions(part):
        if kind == "Var":
            yield str(node["value"]), node
