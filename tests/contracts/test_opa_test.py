"""`cordon policy test` says what `opa test` says, by name, of bundles that both accept.

An error in a builtin is the one stated exception: OPA takes it for undefined, here it is an error. Both do not pass.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from policies.authoring.running import TestResult, run_tests
from policies.bundle import load_bundle
from tests.support.gateway import ROOT
from tests.support.policies import MINIMAL, STARTER, write
from tests.support.servers import require_binary

FORMS = """package forms_test

import data.cordon.request

test_true if true
test_undefined if input.nothing
test_false := false
test_number := 5
test_text := "x"
test_object := {"a": true}
test_set contains x if some x in [1, 2]
test_empty_set contains x if some x in []
test_partial contains "x"
test_decision if request.decision.allow
test_mock if request.decision.allow with input as {"x": 1} with input.y as 2
test_errs if to_number("junk") == 1
todo_test_later if false
test_else if false
else if true
test_value := true if 1 == 1
test_negation if not input.nothing
test_fixed["lit"] if 1 == 1
sub.test_below if true
sub.test_below_fails if false
test_obj.a if true
test_obj.b if true
deep.test_in.side if true
default test_default := false
default test_default_true := true
"""
SEVERAL = """package several_test

test_two if true
test_two if false
test_three := 1
test_three := true
test_three if input.x with input as {"x": true}
default test_late := false
test_late if true
test_cases[n] if some n in ["p"]
test_cases[n] if { some n in ["q"]; n == "z" }
"""
CASES = """package cases_test

test_letters[case] if {
	some case in ["p", "q"]
	case == "p"
}
test_table[name] if {
	some name, case in {"one": {"a": 1, "b": 1}, "two": {"a": 1, "b": 2}}
	case.a == case.b
}
test_from_rule[name] if { some name, case in cases; case.x == 1 }
cases := {"a": {"x": 1}, "b": {"x": 2}}
test_none[name] if some name in []
test_before[name] if {
	1 == 2
	some name in ["x"]
}
test_built[name] if {
	some x in [1, 2]
	name := sprintf("case %d", [x])
	x == 1
}
test_twice[name] if {
	some i, name in ["x", "y", "y"]
	i == 1
}
test_kinds[n] if {
	some n in [true, null, 1, 1.5, [1], {"a": 1}, "ü\\n"]
	n == 1
}
test_values[name] := v if some name, v in {"a": true, "b": false, "c": 5}
test_mocked[name] if {
	some name, v in {"a": 1, "b": 2}
	v == input.v with input as {"v": 1}
}
test_by_field[case.name] if {
	some case in [{"name": "n1", "ok": true}, {"name": "n2", "ok": false}]
	case.ok
}
test_no_input[name] if {
	input.x == 1
	some name in ["q"]
}
test_negated[name] if {
	some name, v in {"a": 1, "b": 2}
	not v == 2
}
test_bracket[name] if cases[name].x == 1
test_assigned[name] if {
	name := "a"
	name == "b"
}
"""
BUNDLES = {
    "forms": MINIMAL | {"forms_test.rego": FORMS},
    "several definitions": MINIMAL | {"several_test.rego": SEVERAL},
    "cases": MINIMAL | {"cases_test.rego": CASES},
    "tests in a served file": MINIMAL | {"lib.rego": "package lib\n\ntest_a if x\n\nx := true\n"},
    "data": MINIMAL
    | {"k/data.json": '{"v": [1, 2]}', "a_test.rego": "package t\n\ntest_a if data.k.v[1] == 2\ntest_b if data.k.z\n"},
}


def of_opa(folder: Path) -> dict[str, Any]:
    run = subprocess.run(
        [str(require_binary("opa")), "test", "--format=json", str(folder)], capture_output=True, timeout=60
    )
    return {f"{each['package']}.{each['name']}": _told(each) for each in json.loads(run.stdout)}


def _told(result: dict[str, Any]) -> Any:
    outcome = "skipped" if result.get("skip") else "not passed" if result.get("fail") else "passed"
    return outcome, {name: not case.get("fail") for name, case in result.get("sub_results", {}).items()}


def of_cordon(folder: Path) -> dict[str, Any]:
    return {result.name: _read(result) for result in run_tests(load_bundle(folder)).results}


def _read(result: TestResult) -> Any:
    outcome = "not passed" if result.outcome in ("failed", "error") else result.outcome
    return outcome, {case.name: case.passed for case in result.cases}


@pytest.mark.parametrize("folder", [STARTER, ROOT / "examples/policy"], ids=lambda at: at.name)
def test_the_bundles_of_the_project_have_the_same_results(folder: Path) -> None:
    theirs = of_opa(folder)
    assert theirs
    assert of_cordon(folder) == theirs


def test_one_name_in_two_files_is_two_tests(tmp_path: Path) -> None:
    """OPA numbers them in any order, so the names are compared apart from the outcomes."""
    texts = {"a_test.rego": "package t\n\ntest_a if true\n", "b_test.rego": "package t\n\ntest_a if false\n"}
    theirs, ours = of_opa(write(tmp_path, MINIMAL | texts)), of_cordon(tmp_path)
    assert sorted(ours) == sorted(theirs)
    assert sorted(map(str, ours.values())) == sorted(map(str, theirs.values()))


@pytest.mark.parametrize("name", BUNDLES)
def test_written_bundles_have_the_same_results(name: str, tmp_path: Path) -> None:
    theirs = of_opa(write(tmp_path, BUNDLES[name]))
    assert theirs
    assert of_cordon(tmp_path) == theirs
