"""Rewrites arithmetic and counting so that they are exact or an error.

The engine computes with doubles where OPA has decimals (0.1 + 0.2 is not 0.3 in one and is in the other), and it counts
a text's UTF-16 units. Guards of cordon_exact.rego go around each operand that is not provably a whole number, and
take the place of `count`, `sum` and `product`. Lines stay what they are, so that errors name the place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path as File
from typing import Final, Literal

from policies.errors import Problem
from policies.rego.edits import Edit, apply
from policies.rego.heads import ENTRIES
from policies.rego.mocks import mocked_builtins, mocks
from policies.rego.names import Names
from policies.rego.tree import Module, Node, Path, expressions, path_of

EXACT_FILE: Final = "cordon_exact.rego"

Bound = Literal["small", "large", ""]
"""What is known of a number: whole and within 2^52, whole and within 2^63, or nothing."""

_SMALL: Final = frozenset({"count", "indexof", "strings.count", "floor", "ceil"})
_LARGE: Final = frozenset(
    {"time.now_ns", "time.parse_ns", "time.parse_rfc3339_ns", "time.add_date", "sum", "product", "round"}
)
_ROUNDING: Final = frozenset({"floor", "ceil", "round"})
_GUARDED: Final = {"object.subset": "subset", "product": "multiplied", "sum": "total", "uuid.parse": "parsed_uuid"}
_ORDERED: Final = frozenset({"max", "min", "sort"})
_COUNTED: Final = _ROUNDING | _ORDERED | {"count"} | _GUARDED.keys()
_COLLECTIONS: Final = frozenset({"Array", "Set", "Object", "ArrayCompr", "SetCompr", "ObjectCompr", "BinExpr"})
_SCALARS: Final = frozenset({"ArithExpr", "Bool", "BoolExpr", "Null", "Number", "RawString", "String"})
_GIVES_SCALAR: Final = _SMALL | _LARGE | {"format_int", "lower", "sprintf", "type_name", "upper"}
_GIVES_COLLECTION: Final = frozenset(
    {
        "array.concat",
        "array.reverse",
        "array.slice",
        "graph.reachable",
        "indexof_n",
        "intersection",
        "numbers.range",
        "numbers.range_step",
        "object.filter",
        "object.keys",
        "object.remove",
        "object.union",
        "object.union_n",
        "regex.find_all_string_submatch_n",
        "regex.find_n",
        "regex.split",
        "sort",
        "split",
        "union",
    }
)
_CONSTANTS: Final = frozenset({"Bool", "Null", "Number", "RawString", "String"})
_JSON: Final = _CONSTANTS | {"Array", "Object"}
_GIVES_TEXTS: Final = frozenset(
    {"indexof_n", "numbers.range", "numbers.range_step", "regex.find_n", "regex.split", "split", "strings.split_n"}
)
_INPUT_NUMBERS: Final = frozenset(
    {
        ("input", "answer", "status"),
        ("input", "call", "attempt"),
        ("input", "content", "bytes"),
        ("input", "request_content", "bytes"),
    }
)
_INPUT_COLLECTIONS: Final = frozenset(
    {
        ("input", "attributes", "request", "http", "headers"),
        ("input", "candidates"),
        ("input", "content", "findings"),
        ("input", "parsed_path"),
        ("input", "parsed_query"),
        ("input", "principal", "roles"),
        ("input", "request_content", "findings"),
        ("input", "tenant", "residency"),
    }
)


@cache
def exact_module() -> str:
    """The text of cordon_exact.rego, which joins every rewritten bundle."""
    return (File(__file__).parent / EXACT_FILE).read_text(encoding="utf-8")


def make_exact(names: Names, module: Module, data: Mapping[str, object]) -> tuple[str, list[Problem]]:
    """The text of a module with its guards in place, and what cannot be guarded."""
    work = _Rewriter(names, module, data)
    for kind, node in expressions(module.tree["rules"]):
        if kind == "ArithExpr":
            work.arithmetic(node)
        elif kind == "Call":
            work.call(node)
        elif kind == "BoolExpr" and node["op"] not in ("Eq", "Ne"):
            work.order(node)
        elif kind == "ArrayCompr":
            work.iteration(node)
    return apply(module.text, work.edits), work.problems


class _Rewriter:
    def __init__(self, names: Names, module: Module, data: Mapping[str, object]) -> None:
        self._names, self._module, self._data = names, module, data
        self._mocked = mocked_builtins(names)
        self.edits: list[Edit] = []
        self._rounded: set[int] = set()
        self._iterated: set[int] = set()
        self._entries = {ENTRIES + tree[-1] for tree in names.rules if (*tree[:-1], ENTRIES + tree[-1]) in names.rules}
        self._plain_input = not any(
            path_of(mock["refr"])[:1] == ("input",) and any(kind not in _JSON for kind, _ in expressions(mock["as"]))
            for each in names.modules
            for mock in mocks(each)
        )
        self.problems: list[Problem] = []

    def arithmetic(self, node: Node) -> None:
        """Guard one operation: its operands, and its result where that can leave the exact range."""
        dividing = node["op"] == "Div"
        if not dividing and (self._is_set(node["lhs"]) or self._is_set(node["rhs"])):
            return
        for side in (node["lhs"], node["rhs"]):
            self._operand(side, dividing)
        if (dividing and id(node) not in self._rounded) or (not dividing and self._overflows(node)):
            self._guard(node, "whole")

    def _operand(self, expression: Node, dividing: bool) -> None:
        kind, node = next(iter(expression.items()))
        bound = self._bound(expression)
        if kind == "Number" and not bound:
            message = "arithmetic on fractions is not evaluated here as OPA does it"
            self.problems.append(
                self._module.problem(node, "fraction", message, "count in smaller units, as whole numbers")
            )
        elif dividing and kind == "Call" and self._names.called(self._module, node)[1].startswith("time."):
            message = "a division of so large a number is not evaluated here as OPA does it"
            self.problems.append(self._module.problem(node, "division", message, "multiply the other side instead"))
        elif dividing and bound != "small":
            self._guard(node, "small")
        elif not bound and kind != "ArithExpr":
            self._guard(node, "whole")

    def order(self, node: Node) -> None:
        """Sets stand before objects in the engine's order of things, and behind them in OPA's."""
        if self._is_set(node["lhs"]) or self._is_set(node["rhs"]):
            message = "sets are not ordered here as OPA does it"
            self.problems.append(self._module.problem(node, "order", message, "compare what is in them, or count them"))
        elif not any(self._is_scalar(side) for side in (node["lhs"], node["rhs"])):
            for side in (node["lhs"], node["rhs"]):
                self._guard(next(iter(side.values())), "ordered")

    def iteration(self, node: Node) -> None:
        """The order in which sets and objects are gone through shows in an array that is made by it."""
        for kind, part in expressions(node):
            if kind == "SomeIn":
                self._in_order(part["collection"])
            elif kind == "RefBrack" and not part["index"].keys() & _CONSTANTS:
                self._in_order(part["refr"])
            elif kind == "Call" and self._names.called(self._module, part) == (None, "walk"):
                self._in_order(part["params"][0])

    def _in_order(self, expression: Node) -> None:
        kind, node = next(iter(expression.items()))
        path = self._names.resolve(self._module, path_of(expression))
        function, name = self._names.called(self._module, node) if kind == "Call" else (None, "")
        plain = function is None and name in _GIVES_TEXTS - self._mocked
        known = kind in ("Array", "ArrayCompr") or any(True for _ in self._constants(path))
        known = known or (path[:1] == ("input",) and self._plain_input) or (path[-1:] or ("",))[0] in self._entries
        if not (plain or known or id(node) in self._iterated):
            self._iterated.add(id(node))
            self._guard(node, "iterated")

    def call(self, node: Node) -> None:
        """Guard counting and adding up; see that a quotient about to be rounded may be a fraction."""
        function, name = self._names.called(self._module, node)
        if function is not None or name not in _COUNTED:
            return
        argument = node["params"][0]
        if name in self._mocked and name not in _ORDERED:
            if not self._is_collection(argument):
                message = f"{name} is replaced by `with` in this bundle, and cannot be guarded here"
                self.problems.append(self._module.problem(node, "with", message, "replace another function"))
            return
        kind, inner = next(iter(argument.items()))
        if name in _ROUNDING and kind == "ArithExpr" and inner["op"] == "Div":
            self._rounded.add(id(inner))
        elif name == "count" and not self._is_collection(argument):
            self._rename(node, "size")
        elif name in _ORDERED and not self._of_scalars(argument):
            self._guard(inner, "compared")
        elif name in _GUARDED:
            self._rename(node, _GUARDED[name])

    def _of_scalars(self, expression: Node) -> bool:
        """Whether a collection is certainly one of texts, numbers and the like."""
        kind, node = next(iter(expression.items()))
        if kind in ("Array", "Set"):
            return all(self._is_scalar(each) for each in node["items"])
        return kind == "Call" and self._names.called(self._module, node)[1] in _GIVES_TEXTS - self._mocked

    def _rename(self, node: Node, guard: str) -> None:
        name = next(iter(node["fcn"].values()))["span"]
        self.edits.append(Edit(name["start"], name["end"], f"data.cordon_exact.{guard}"))

    def _guard(self, node: Node, guard: str) -> None:
        self.edits.append(Edit(node["span"]["start"], node["span"]["end"], f"data.cordon_exact.{guard}(", ")"))

    def _overflows(self, node: Node) -> bool:
        bounds = {self._bound(node["lhs"]), self._bound(node["rhs"])}
        return node["op"] != "Mod" and (node["op"] == "Mul" or bounds != {"small"})

    def _bound(self, expression: Node) -> Bound:
        kind, node = next(iter(expression.items()))
        if kind == "Number":
            value = float(self._module.source(node))
            return "small" if value == int(value) and abs(value) <= 2**52 else ""
        if kind == "ArithExpr":
            return "large"
        if kind == "Call":
            function, name = self._names.called(self._module, node)
            return (
                ""
                if function or name in self._mocked
                else "small"
                if name in _SMALL
                else "large"
                if name in _LARGE
                else ""
            )
        path = self._names.resolve(self._module, path_of(expression))
        if path in _INPUT_NUMBERS:
            return "small"
        values = list(self._constants(path))
        return "small" if values and all(type(value) is int and abs(value) <= 2**52 for value in values) else ""

    def _is_set(self, expression: Node) -> bool:
        kind, _ = next(iter(expression.items()))
        path = self._names.resolve(self._module, path_of(expression))
        rules = self._names.rules.get(tuple(step or "" for step in path), [])
        return kind in ("Set", "SetCompr", "BinExpr") or (bool(rules) and all(rule.kind == "Set" for _, rule in rules))

    def _is_scalar(self, expression: Node) -> bool:
        """Whether an operand is certainly no set, object or array, so that it does not matter what the other is."""
        kind, node = next(iter(expression.items()))
        if kind == "Call":
            function, name = self._names.called(self._module, node)
            return function is None and name in _GIVES_SCALAR - self._mocked
        values = list(self._constants(self._names.resolve(self._module, path_of(expression))))
        constant = bool(values) and not any(isinstance(value, dict | list) for value in values)
        return kind in _SCALARS or bool(self._bound(expression)) or constant

    def _is_collection(self, expression: Node) -> bool:
        kind, node = next(iter(expression.items()))
        if kind == "Call":
            function, name = self._names.called(self._module, node)
            return function is None and name in _GIVES_COLLECTION - self._mocked
        path = self._names.resolve(self._module, path_of(expression))
        values = list(self._constants(path))
        constant = bool(values) and not any(isinstance(value, str) for value in values)
        return kind in _COLLECTIONS or self._is_set(expression) or path in _INPUT_COLLECTIONS or constant

    def _constants(self, path: Path) -> Iterator[object]:
        """All values of the bundle's own data that a reference can mean; none if rules have a say in it."""
        if path[:1] != ("data",) or any(True for _ in self._names.reached(path)):
            return
        found: list[object] = [self._data]
        for step in path[1:]:
            found = [inner for value in found for inner in _inside(value, step)]
        yield from found


def _inside(value: object, step: str | None) -> list[object]:
    if isinstance(value, dict):
        return list(value.values()) if step is None else [value[step]] if step in value else []
    return list(value) if isinstance(value, list) and step is None else []
