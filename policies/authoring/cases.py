"""Which tests a bundle has, as `opa test` counts them.

A test is a rule whose name begins with `test_`, in any module; `todo_test_…` is skipped. Each definition of a name is a
test of its own (`test_x`, `test_x#01`), so all but the first are renamed before anything is evaluated. A test
`test_x[case]` has a case for each key that the statements of its body yield up to the one that binds the key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from policies.authoring.rules import Reach, path_of_test
from policies.bundle import Bundle
from policies.errors import BundleError, Problem
from policies.rego.edits import Edit, apply
from policies.rego.inspection import inspect
from policies.rego.names import Names
from policies.rego.parsing import parsed
from policies.rego.recursion import check_recursion
from policies.rego.rewriting import rewrite
from policies.rego.tree import Module, Node, Rule, expressions, parse


@dataclass(frozen=True, slots=True)
class Test:
    """A test: its name, the rule to evaluate, and its place. `cases` is the rule that lists its cases, or "".

    `rule` is "" for what can never be true, because its name is that of an object (`test_x.y`); `unsound` says what
    the test reaches that would not be evaluated as OPA does.
    """

    __test__ = False

    name: str
    rule: str
    file: str
    line: int
    cases: str = ""
    unsound: str = ""

    @property
    def skipped(self) -> bool:
        """Whether its name says that it is yet to be done."""
        return self.name.rpartition(".")[2].startswith("todo_")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A bundle made ready for its tests: `texts` to evaluate, `sources` as they were written, by file."""

    tests: tuple[Test, ...]
    texts: Mapping[str, str]
    sources: Mapping[str, str]
    data_json: str

    def setup(self) -> dict[str, Any]:
        """What a worker needs of it, as a JSON value."""
        return {"texts": dict(self.texts), "sources": dict(self.sources), "data": self.data_json}


def prepare(bundle: Bundle) -> Prepared:
    """Find the tests and make the modules ready; BundleError where they cannot be evaluated safely."""
    modules, found = _apart(parsed({**bundle.modules, **bundle.tests}))
    names = Names(modules)
    problems = check_recursion(names)
    if problems:
        raise BundleError(problems)
    wrong = _unsound(names, bundle.data)
    reach = Reach(names)
    sources = {module.file: module.text for module in modules}
    texts, problems = rewrite(modules, bundle.data)
    if problems:
        raise BundleError(problems)
    tests = []
    for file in {test.file: None for test, _ in found}:
        own = [(test, opened) for test, opened in found if test.file == file]
        texts[file], listed = _with_cases(file, texts[file], own)
        tests += [replace(test, unsound=_reached(reach, wrong, test)) if wrong else test for test in listed]
    return Prepared(tuple(tests), texts, sources, bundle.data_json)


def _unsound(names: Names, data: Mapping[str, object]) -> dict[tuple[str, ...], Problem]:
    """Rules that would not be evaluated as OPA does, each with the first problem in it.

    Putting other data in place of the bundle's own is what tests do; only guards of arithmetic could miss it.
    """
    found: dict[tuple[str, ...], Problem] = {}
    modules = {module.file: module for module in names.modules}
    for problem in inspect(names, data):
        if problem.severity != "error" or problem.code == "with_data" or problem.file not in modules:
            continue
        module = modules[problem.file]
        inside = [rule for rule in module.rules if _covers(module, rule, problem.line)]
        for rule in inside or module.rules:
            found.setdefault(rule.path, problem)
    return found


def _covers(module: Module, rule: Rule, line: int) -> bool:
    first = module.place(rule.node)[0]
    return first <= line <= first + module.source(rule.node).count("\n")


def _reached(reach: Reach, wrong: Mapping[tuple[str, ...], Problem], test: Test) -> str:
    problems = sorted(wrong[path] for path in reach.all([tuple(test.rule.split("."))]) if path in wrong)
    return str(problems[0]) if problems else ""


def _apart(modules: Sequence[Module]) -> tuple[list[Module], list[tuple[Test, bool]]]:
    """The modules with each definition of a test under a name of its own, and the tests: has each one cases?"""
    counts: Counter[tuple[str, ...]] = Counter()
    found: list[tuple[Test, bool]] = []
    changed = []
    for module in modules:
        edits = []
        for rule in module.rules:
            path = path_of_test(module, rule)
            if path is None:
                continue
            number = counts[path]
            counts[path] += 1
            name = f"{path[-1]}_cordon_{number:02}" if number else path[-1]
            if number and path == rule.path:
                span = _name_span(rule)
                edits.append(Edit(span["start"], span["end"], name))
            shown = ".".join(path) + (f"#{number:02}" if number else "")
            evaluated = ".".join((*path[:-1], name)) if path == rule.path else ""
            found.append((Test(shown, evaluated, module.file, module.place(rule.node)[0]), _opened(rule)))
        changed.append(parse(module.file, apply(module.text, edits)) if edits else module)
    return changed, found


def _opened(rule: Rule) -> bool:
    return rule.open and not rule.default and rule.kind == "Compr"


def _name_span(rule: Rule) -> Mapping[str, int]:
    """Where the last fixed step of a rule's name is written."""
    head = rule.node if rule.default else rule.node["head"][rule.kind]
    kind, node = next(iter(head["refr"].items()))
    while kind == "RefBrack" and not {"String", "RawString"} & set(node["index"]):
        kind, node = next(iter(node["refr"].items()))
    span: Mapping[str, int]
    if kind == "RefDot":
        span = node["field"][0]
    elif kind == "Var":
        span = node["span"]
    else:
        span = {"start": next(iter(node["index"].values()))["span"]["start"] + 1}
        span = {**span, "end": next(iter(node["index"].values()))["span"]["end"] - 1}
    return span


def _with_cases(file: str, text: str, tests: Iterable[tuple[Test, bool]]) -> tuple[str, list[Test]]:
    """The text of a module with a rule more for each test that has cases, behind its last line."""
    found: list[Test] = []
    module = parse(file, text)
    rules = {".".join(rule.path): rule for rule in module.rules}
    for test, opened in tests:
        if not opened or not test.rule:
            found.append(test)
            continue
        rule = rules[test.rule]
        key, before, _ = split(module, rule)
        name = f"cordon_cases_{len(found)}"
        body = "\n".join(before) or "true"
        text += f"\n{name} contains {key} if {{\n{body}\n}}\n"
        found.append(Test(**asdict(test) | {"cases": ".".join((*module.package, name))}))
    return text, found


def split(module: Module, rule: Rule) -> tuple[str, list[str], list[Node]]:
    """The key of a test with cases, the statements that bind it, and those behind them."""
    index = rule.node["head"][rule.kind]["refr"]["RefBrack"]["index"]
    wanted = {str(node["value"]) for kind, node in expressions([index]) if kind == "Var"}
    bodies = rule.node["bodies"]
    statements = list(bodies[0]["query"]["stmts"]) if bodies else []
    place = 0
    while wanted and place < len(statements):
        literal = statements[place]["literal"]
        wanted -= {str(node["value"]) for kind, node in expressions(literal) if kind == "Var"}
        place += 1
    key = module.source(next(iter(index.values())))
    return key, [module.source(each) for each in statements[:place]], statements[place:]
