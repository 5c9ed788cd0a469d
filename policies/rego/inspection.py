"""What in a bundle the embedded engine would not evaluate as OPA does, by file, line and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import re2

from policies.errors import Problem
from policies.numbers import LARGEST, exact
from policies.rego.builtins import ARITY, CHANGING, OPA_SERVER, refusal
from policies.rego.digits import is_plain
from policies.rego.extents import is_extent, named_only, readable
from policies.rego.heads import check_heads
from policies.rego.imports import check_imports
from policies.rego.mocks import check_mocks
from policies.rego.names import Names, in_data, known
from policies.rego.negation import check_every, check_negation
from policies.rego.outputs import output_calls
from policies.rego.recursion import check_recursion, parts
from policies.rego.regexes import _compiled, plain_glob
from policies.rego.reserved import check_reserved
from policies.rego.safety import check_safety
from policies.rego.spelling import WORD
from policies.rego.tree import Module, Node, Rule, expressions, path_of, references
from policies.rego.values import plain_format

_IMPORTS: Final = frozenset(
    {
        ("rego", "v1"),
        ("future", "keywords"),
        *(("future", "keywords", word) for word in ("in", "every", "if", "contains", "not")),
    }
)
_PATTERN: Final = frozenset(
    {"Var", "String", "RawString", "Number", "Bool", "True", "False", "Null", "Array", "Object", "Set"}
)
"""What the arguments in a function's head are made of."""
_WHOLE: Final = re.compile("-?[0-9]{1,20}")
_MOMENT: Final = re.compile("[0-9]{1,18}|[1-8][0-9]{18}")
_REGEX_ARGUMENT: Final = {
    "regex.match": 0,
    "regex.split": 0,
    "regex.find_n": 0,
    "regex.find_all_string_submatch_n": 0,
    "regex.replace": 1,
}


def inspect(names: Names, data: Mapping[str, object]) -> list[Problem]:
    """All problems and notes of a bundle, in order of place."""
    problems = [*check_recursion(names), *check_heads(names), *_conflicts(names, data)]
    for module in names.modules:
        problems += [*_module(module), *check_negation(module), *check_every(module), *check_imports(names, module)]
        problems += [*check_safety(names, module), *check_reserved(names, module, data)]
        for rule in module.rules:
            problems += [*_head(module, rule), *_empty(module, rule)]
        outputs, moments, unseen = output_calls(names, module), set(_moments(names, module)), set(_unseen(module))
        for kind, node in expressions(module.tree["rules"]):
            if kind == "Call":
                problems += _call(names, module, node, len(node["params"]) - (id(node) in outputs))
            else:
                problems += _number(module, node, unseen) if kind == "Number" and id(node) not in moments else ()
        problems += _references(names, module, data)
        problems += check_mocks(names, module, data)
    return sorted(set(problems))


def _module(module: Module) -> Iterator[Problem]:
    if not module.tree.get("rego_v1", True):
        yield module.problem(
            module.tree["package"], "version", "this is Rego v0", "write it in Rego v1 (opa fmt --rego-v1)"
        )
    for node in module.tree["imports"]:
        path = tuple(step or "" for step in path_of(node["refr"]))
        if path[0] not in ("data", "input") and path not in _IMPORTS:
            yield module.problem(node, "import", f"the import {'.'.join(path)} is not supported", OPA_SERVER)
        if path == ("future", "keywords"):
            yield from _operators(module)


def _operators(module: Module) -> Iterator[Problem]:
    """Names that are operators where all of `future.keywords` is imported."""
    for kind, node in expressions(module.tree["rules"]):
        if kind == "Var" and node["value"] in ("and", "or"):
            message = f"{node['value']} is a keyword where all of future.keywords is imported"
            yield module.problem(node, "keyword", message, "rename it, or import the keywords one by one")


def _conflicts(names: Names, data: Mapping[str, object]) -> Iterator[Problem]:
    for path, found in names.rules.items():
        module, rule = found[0]
        if in_data(path[1:], data):
            message = f"the data of the bundle has a value at {'.'.join(path)} as well, which would replace the rule"
            yield module.problem(rule.node, "conflict", message, "rename the rule, or take the value out of the data")
        if not rule.open and (names.below(path) or any(package[: len(path)] == path for package in names.packages)):
            message = f"{'.'.join(path)} is a rule, and other rules or packages lie below it"
            yield module.problem(rule.node, "conflict", message, "rename one of them")
        defaults = [(at, each) for at, each in found if each.default]
        for at, each in defaults[1:]:
            message = f"{'.'.join(path)} has another default, at {defaults[0][0].file}"
            yield at.problem(each.node, "conflict", message, "leave one of them out")
        shapes = {(each.function, len(_arguments(each))) for _, each in found if each.function or not each.default}
        if len(shapes) > 1:
            message = f"{'.'.join(path)} is defined in different ways (number of arguments)"
            yield found[-1][0].problem(found[-1][1].node, "conflict", message, "rename one of them")


def _arguments(rule: Rule) -> list[Node]:
    head: Mapping[str, list[Node]] = next(iter(rule.node["head"].values())) if "head" in rule.node else rule.node
    return head.get("args") or []


def _head(module: Module, rule: Rule) -> Iterator[Problem]:
    head = rule.node if rule.default else next(iter(rule.node["head"].values()))
    if any(kind not in _PATTERN for kind, _ in expressions(head.get("args") or [])):
        message = "an argument that is computed in the head is not evaluated here as OPA does it"
        yield module.problem(rule.node, "head", message, "name it by a variable, and compare in the body")
    if rule.default and any(
        kind in ("Var", "Call", "ArrayCompr", "SetCompr", "ObjectCompr") for kind, _ in expressions(rule.node["value"])
    ):
        message = "a default that is not a constant is not evaluated here as OPA does it"
        yield module.problem(rule.node, "default", message, "write the value out")


def _empty(module: Module, rule: Rule) -> Iterator[Problem]:
    """`if {}`, which OPA does not read, and the engine takes as a condition that always holds."""
    for body in rule.node.get("bodies", ()):
        for statement in body["query"]["stmts"]:
            if statement["literal"].get("Expr", {}).get("expr", {}).get("Object", {}).get("fields") == []:
                message = "a body without a condition always holds"
                yield module.problem(statement, "parse", message, "write its conditions, or leave it out")


def _number(module: Module, node: Node, unseen: set[int]) -> Iterator[Problem]:
    text = module.source(node)
    if _WHOLE.fullmatch(text) and -(2**63) <= int(text) < 2**64:
        plain = text != "-0"
    elif not exact(text) or abs(float(text)) > LARGEST:
        message = f"the number {text[:40]} cannot be compared exactly"
        yield module.problem(node, "number", message, "keep it within 64 bits if whole, with fewer digits if not")
        return
    else:
        plain = is_plain(text)
    if not plain and id(node) not in unseen:
        message = f"OPA keeps how {text[:40]} is written, which is lost here"
        yield module.problem(node, "number", message, f"write {_plain(float(text))}")


def _unseen(module: Module) -> Iterator[int]:
    """The identities of numbers that are only compared or computed with, so that nobody sees how they are written."""
    stack = [
        node[side]
        for kind, node in expressions(module.tree["rules"])
        if kind in ("ArithExpr", "BoolExpr")
        for side in ("lhs", "rhs")
        if kind == "BoolExpr" or "Number" in node[side]
    ]
    while stack:
        kind, node = next(iter(stack.pop().items()))
        if kind == "Number":
            yield id(node)
        elif kind in ("Array", "Set"):
            stack.extend(node["items"])
        elif kind == "Object":
            stack.extend(each for _, *field in node["fields"] for each in field)


def _plain(number: float) -> str:
    """A number as it is printed anywhere."""
    return str(int(number)) if number.is_integer() else repr(number)


def _moments(names: Names, module: Module) -> Iterator[int]:
    """The identities of numbers that io.jwt.decode_verify takes as a time, which it reads as OPA does in any size."""
    for kind, node in expressions(module.tree["rules"]):
        if kind != "Call" or names.called(module, node) != (None, "io.jwt.decode_verify") or len(node["params"]) < 2:
            continue
        fields: list[list[Node]] = next(
            (field["fields"] for name, field in expressions(node["params"][1]) if name == "Object"), []
        )
        for _, key, value in fields:
            number = value.get("Number")
            if number and key.get("String", {}).get("value") == "time" and _MOMENT.fullmatch(module.source(number)):
                yield id(number)


def _call(names: Names, module: Module, node: Node, count: int) -> Iterator[Problem]:
    """Problems of a call with `count` arguments, apart from one that stands for its result."""
    function, name = names.called(module, node)
    if function is not None:
        rule = names.rules[function][0][1]
        if not rule.function:
            yield module.problem(node, "call", f"{name} is a rule, not a function", "leave the arguments out")
        elif len(_arguments(rule)) != count:
            yield module.problem(
                node, "call", f"{name} takes {len(_arguments(rule))} arguments, not {count}", "correct the call"
            )
        return
    if name == "cordon_template" and module.respelled:
        return
    if name not in ARITY:
        message, remedy = refusal(name)
        yield module.problem(node, "builtin", message, remedy)
        return
    expected = ARITY[name]
    if name == "walk":
        if count != 2:
            yield module.problem(
                node, "builtin", "walk is evaluated here only in the form walk(value, [path, part])", "write it so"
            )
    elif count == expected + 1:
        yield module.problem(
            node, "call", f"{name} with its result as last argument is not supported here", f"write x := {name}(…)"
        )
    elif count != expected:
        yield module.problem(node, "call", f"{name} takes {expected} arguments, not {count}", "correct the call")
    if name in CHANGING:
        message = f"{name} gives another result at another time, so a replay may decide otherwise"
        line, column = module.place(node)
        yield Problem(module.file, line, column, "changing", message, severity="note")
    yield from _constant_arguments(module, name, node["params"])


def _constant_arguments(module: Module, name: str, parameters: list[Node]) -> Iterator[Problem]:
    """What a literal argument shows before any call: patterns and formats that could only fail."""
    place = 0 if name in ("sprintf", "glob.match") else _REGEX_ARGUMENT.get(name)
    if place is None or place >= len(parameters):
        return
    kind, literal = next(iter(parameters[place].items()))
    if kind not in ("String", "RawString"):
        return
    value = str(literal["value"])
    if name == "sprintf":
        if not plain_format(value):
            message = "sprintf is evaluated here only with %s, %v, %d, %x, %X, %o, %b, %f and %%"
            yield module.problem(literal, "format", message, "use %v, or " + OPA_SERVER)
    elif name == "glob.match":
        if not plain_glob(value):
            message = "glob.match is evaluated here only with text, *, **, ?, [a-z], [!ab] and {texts,of,it}"
            yield module.problem(literal, "glob", message, "use regex.match, or " + OPA_SERVER)
    else:
        try:
            _compiled(value)
        except (re2.error, ValueError):
            yield module.problem(
                literal, "regex", "RE2 does not accept this pattern", "correct it; \\C and lookarounds do not exist"
            )


def _references(names: Names, module: Module, data: Mapping[str, object]) -> Iterator[Problem]:
    ignored = named_only(module)
    for path, node in references([parts(rule.node) for rule in module.rules]):
        if id(node) in ignored:
            continue
        absolute = names.resolve(module, path)
        if not absolute or absolute[0] != "data":
            continue
        static = known(absolute)
        if any(static[: len(word)] == word for word in _words(names)):
            message = f"{'.'.join(static)} is a rule that is called like a keyword, and is read in two ways"
            yield module.problem(node, "keyword", message, "rename the rule")
        if static == ("data",) or (is_extent(names, static) and not readable(names, module, path, absolute, data)):
            message = f"{'.'.join(static)} is a package; reading it as a value is not evaluated here as OPA does it"
            yield module.problem(node, "package", message, "name the rules one by one, or " + OPA_SERVER)
        for function in names.reached(static):
            if function == static[: len(function)] and any(rule.function for _, rule in names.rules[function]):
                yield module.problem(node, "call", f"{'.'.join(function)} is a function", "call it with arguments")


def _words(names: Names) -> set[tuple[str, ...]]:
    """The true paths of rules that are called like a keyword (spelling.py has given them other names)."""
    found = ((rule.path, len(module.package)) for module in names.modules for rule in module.rules)
    return {(*path[:at], path[at].removeprefix(WORD)) for path, at in found if path[at].startswith(WORD)}
