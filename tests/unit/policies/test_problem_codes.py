"""The table of codes of findings: each that the package can tell is in it, and each example has its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from policies.admission import Admission
from policies.admission_worker import examine as admission
from policies.authoring.examining import CODES, examine
from policies.bundle import make_bundle
from policies.errors import Problem
from policies.problem_codes import PROBLEMS
from tests.support.policies import MINIMAL, REQUEST_RULE, RESPONSE_RULE, SETTINGS

PACKAGE = Path(__file__).parents[3] / "policies"
MAKERS = {"Problem": 3, "problem": 1, "_refused": 0, "parse_problem": 2, "_note": 2, "_at": 3}
"""The functions that make a finding, and the place of the code among their arguments."""


def told() -> Iterator[str]:
    """The codes that are written out in the source."""
    yield from CODES
    yield "parse"
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            place = MAKERS.get(getattr(node.func, "id", getattr(node.func, "attr", "")), len(node.args))
            given = node.args[place] if place < len(node.args) else None
            if isinstance(given, ast.Constant) and isinstance(given.value, str) and given.value.isidentifier():
                yield given.value


def test_every_code_that_can_be_told_is_explained_and_no_other() -> None:
    assert set(told()) == PROBLEMS.keys()
    assert list(PROBLEMS) == sorted(PROBLEMS)


@pytest.mark.parametrize("code", [code for code, known in PROBLEMS.items() if known.rego])
def test_the_example_of_a_code_has_it(code: str) -> None:
    files = MINIMAL | {"request.rego": f"package cordon.request\n\n{PROBLEMS[code].rego}\n"}
    bundle = make_bundle({path: text.encode() for path, text in files.items()})
    request = {
        "modules": dict(bundle.modules), "data": bundle.data, "rules": [REQUEST_RULE, RESPONSE_RULE], "samples": [],
        "decision_ms": 1_000, "seconds": 10,
    }  # fmt: skip
    done = admission(request, lambda step, file: None)
    problems = tuple(Problem(**each) for each in done["problems"])
    uncached = {rule: Problem(**each) for rule, each in done.get("uncached", {}).items()}
    found = examine(bundle, Admission(bundle, problems, {}, {}, uncached), SETTINGS)
    assert code in {problem.code for problem in [*found, *uncached.values()]}
