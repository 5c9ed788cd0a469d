"""Why a test failed: the statement that nothing satisfies, and the values that it looks at.

Found by evaluation: a statement has failed if those before it hold together and those up to it do not. What is
evaluated is the rewritten statement; what is shown is the one that the author wrote.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from regorus import Engine

from policies.authoring.cases import Test, split
from policies.rego.tree import Module, Node, Rule, parse

LONGEST: Final = 300
"""Most characters of a value, or of a statement, that are shown."""
MOST_VALUES: Final = 3
_NAME: Final = "cordon_probe"


@dataclass(frozen=True, slots=True)
class Failure:
    """The line of the statement (0 where it cannot be said) and what there is to say of it."""

    line: int
    detail: str


class Failures:
    """Explains failures on one engine, over the texts of a prepared bundle."""

    def __init__(self, engine: Engine, texts: Mapping[str, str], sources: Mapping[str, str]) -> None:
        self._engine, self._texts, self._sources = engine, texts, sources
        self._modules: dict[tuple[str, bool], Module] = {}

    def explain(self, test: Test, value: object, case: object = None) -> Failure:
        """Why `test` (or its case with the key `case`) has `value` and not true."""
        module, written = self._module(test.file, source=False), self._module(test.file, source=True)
        rule = next(each for each in module.rules if ".".join(each.path) == test.rule)
        original = next(each for each in written.rules if ".".join(each.path) == test.rule)
        if value is None and not rule.default and rule.node["bodies"]:
            statements = list(rule.node["bodies"][0]["query"]["stmts"])
            shown = _pairs(module, statements, written, original.node["bodies"][0]["query"]["stmts"])
            before = self._chosen(module, rule, case) if test.cases else []
            skip = len(statements) - len(split(module, rule)[2]) if test.cases else 0
            found = self._first(module, before, statements[skip:], written, shown[skip:])
            if found:
                return found
        return Failure(0, "it is undefined" if value is None else f"it is {_text(value)}, not true")

    def _module(self, file: str, *, source: bool) -> Module:
        if (file, source) not in self._modules:
            self._modules[file, source] = parse(file, (self._sources if source else self._texts)[file])
        return self._modules[file, source]

    @staticmethod
    def _chosen(module: Module, rule: Rule, case: object) -> list[str]:
        """The statements that choose one case."""
        key, before, _ = split(module, rule)
        return [*before, f"{key} == {json.dumps(case)}"]

    def _first(
        self, module: Module, before: list[str], statements: Sequence[Node], written: Module, shown: Sequence[Node]
    ) -> Failure | None:
        """The first of these statements that does not hold behind those before it."""
        for statement, original in zip(statements, shown, strict=True):
            text = module.source(statement)
            if self._values(module, [*before, text], "true"):
                before = [*before, text]
                continue
            line = written.place(original)[0]
            told = "; ".join(self._looked_at(module, before, statement, written, original))
            return Failure(line, f"`{_short(written.source(original))}` fails" + (f": {told}" if told else ""))
        return None

    def _looked_at(
        self, module: Module, before: list[str], statement: Node, written: Module, original: Node
    ) -> list[str]:
        mocks = "".join(" " + module.source(each) for each in statement.get("with_mods") or ())
        told = []
        for part, name in zip(_parts(statement), _parts(original), strict=False):
            values = self._values(module, before, f"cordon_value{mocks}", module.source(part))
            found = " or ".join(_text(value) for value in values[:MOST_VALUES]) if values else "undefined"
            text = _short(written.source(name))
            if text != found:
                told.append(f"{text} is {found}")
        return told

    def _values(self, module: Module, before: Sequence[str], key: str, value: str = "") -> list[object]:
        """The values of an expression behind these statements; [] where there are none or it cannot be evaluated."""
        mocks = key.removeprefix("cordon_value") if value else ""
        last = [f"cordon_value := {value}{mocks}"] if value else []
        body = "\n".join([*before, *last]) or "true"
        head = "cordon_value" if value else key
        package = module.source(next(iter(module.tree["package"]["refr"].values())))
        text = f"package {package}\n\n{_NAME} contains {head} if {{\n{body}\n}}\n"
        probe = self._engine.clone()
        try:
            probe.add_policy("cordon_probe.rego", text)
            found = json.loads(probe.eval_rule_as_json(".".join((*module.package, _NAME))))
        except Exception:
            return []
        return list(found) if isinstance(found, list) else []


def _parts(statement: Node) -> list[Node]:
    """The expressions whose values say why a statement fails."""
    kind, literal = next(iter(statement["literal"].items()))
    if kind == "SomeIn":
        found = [literal["collection"]]
    elif kind == "Every":
        found = [literal["domain"]]
    elif kind in ("Expr", "NotExpr"):
        found = _operands(literal["expr"])
    else:
        found = []
    return [next(iter(each.values())) for each in found]


def _operands(expression: Node) -> list[Node]:
    kind, node = next(iter(expression.items()))
    if kind == "BoolExpr":
        return [node["lhs"], node["rhs"]]
    if kind == "AssignExpr":
        return [node["rhs"]] if node["op"] == "ColEq" else [node["lhs"], node["rhs"]]
    if kind == "Membership":
        return [node["value"], node["collection"]]
    return [expression]


def _pairs(module: Module, statements: Sequence[Node], written: Module, originals: Sequence[Node]) -> list[Node]:
    """For each rewritten statement the one that was written; what rewriting put before one belongs to it."""
    own = [not module.source(each).startswith("cordon_") for each in statements]
    if sum(own) != len(originals):
        own = [True] * len(statements)
    place, found = 0, []
    for mine in own:
        found.append(originals[min(place, len(originals) - 1)])
        place += mine
    return found


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _text(value: object) -> str:
    return _short(json.dumps(value, ensure_ascii=False))
