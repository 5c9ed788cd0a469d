"""What an author does with a bundle: check it, run its tests, see what it says of a document.

A test is a rule whose name begins with `test_`, in any module; it passes when it is true, as with `opa test`. Rules
named `todo_test_…` are skipped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from regorus import Engine

from policies.admission import Admission, admit_now
from policies.bundle import Bundle, load_bundle
from policies.embedded import EmbeddedEngine, build
from policies.engine import Moment
from policies.envoy import read_envoy
from policies.errors import BundleError, Problem
from policies.rego.failure import evaluation_failure, parse_problem
from policies.rego.lexer import check_brackets
from policies.rego.names import Names
from policies.rego.recursion import check_recursion
from policies.rego.rewriting import rewrite
from policies.rego.tree import Module, Rule, parse
from policies.result import AnswerDecision, RequestDecision, read_answer, read_request
from policies.settings import Policy

Outcome = Literal["passed", "failed", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class TestResult:
    """How one test went. `line` is where it begins, `detail` why it did not pass."""

    __test__ = False

    name: str
    file: str
    line: int
    outcome: Outcome
    milliseconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a bundle says of one document: the rule's own result (JSON text) and the decision read from it."""

    revision: str
    rule: str
    result: str
    decision: RequestDecision | AnswerDecision
    milliseconds: float


def check_bundle(folder: Path, settings: Policy) -> list[Problem]:
    """All problems and notes of the bundle in `folder`; it may be served if none has the severity "error"."""
    try:
        return list(admit_now(load_bundle(folder), settings).problems)
    except BundleError as error:
        return list(error.problems)


def run_tests(folder: Path, pattern: str = "") -> list[TestResult]:
    """Run the tests of the bundle in `folder` whose name has `pattern` in it; BundleError where it cannot be read."""
    bundle = load_bundle(folder)
    modules = _parse({**bundle.modules, **bundle.tests})
    problems = check_recursion(Names(modules))
    if problems:
        raise BundleError(problems)
    texts, problems = rewrite(modules, bundle.data)
    if problems:
        raise BundleError(problems)
    engine = build(replace(bundle, modules=texts))
    return [_run(engine, module, rule) for module, rule in _tests(modules) if pattern in rule.path[-1]]


def evaluate(folder: Path, document: bytes, moment: Moment, settings: Policy) -> Evaluation:
    """What the bundle in `folder` says of `document` at `moment`; BundleError if it is refused, else PolicyError."""
    admission = admit_now(load_bundle(folder), settings)
    return evaluate_admitted(_admitted(admission), document, moment, settings)


def evaluate_admitted(bundle: Bundle, document: bytes, moment: Moment, settings: Policy) -> Evaluation:
    """The same for a bundle that was admitted before."""
    engine = EmbeddedEngine(bundle, settings)
    rule = settings.request_rule if moment is Moment.REQUEST else settings.response_rule
    began = time.perf_counter()
    result = engine.evaluate(rule, document)
    milliseconds = (time.perf_counter() - began) * 1e3
    decision: RequestDecision | AnswerDecision
    if moment is not Moment.REQUEST:
        decision = read_answer(result)
    else:
        decision = read_envoy(result) if settings.result_style == "opa-envoy" else read_request(result)
    return Evaluation(bundle.revision, rule, result, decision, milliseconds)


def _admitted(admission: Admission) -> Bundle:
    if admission.bundle is None:
        raise BundleError(admission.errors)
    return admission.bundle


def _parse(texts: Mapping[str, str]) -> list[Module]:
    modules = []
    problems = [problem for file, text in texts.items() for problem in check_brackets(file, text)]
    for file, text in {} if problems else texts.items():
        try:
            modules.append(parse(file, text))
        except Exception as error:
            problems.append(parse_problem(file, str(error)))
    if problems:
        raise BundleError(problems)
    return modules


def _tests(modules: list[Module]) -> Iterator[tuple[Module, Rule]]:
    for module in modules:
        seen = set()
        for rule in module.rules:
            if rule.path[-1].startswith(("test_", "todo_test_")) and not rule.function and rule.path not in seen:
                seen.add(rule.path)
                yield module, rule


def _run(engine: Engine, module: Module, rule: Rule) -> TestResult:
    name, line = ".".join(rule.path), module.place(rule.node)[0]
    if rule.path[-1].startswith("todo_"):
        return TestResult(name, module.file, line, "skipped", 0.0)
    began = time.perf_counter()
    outcome: Outcome = "failed"
    detail = ""
    try:
        result = json.loads(engine.clone().eval_rule_as_json(name))
        if result is True:
            outcome = "passed"
        else:
            detail = "it is undefined" if result == "<undefined>" else f"it is {json.dumps(result)[:200]}, not true"
    except Exception as error:
        outcome, detail = "error", evaluation_failure(str(error))
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        outcome, detail = "error", "the policy engine broke down"
    return TestResult(name, module.file, line, outcome, (time.perf_counter() - began) * 1e3, detail)
