"""Checking, testing and trying out a bundle, as an author does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from policies.engine import Moment
from policies.errors import BundleError, PolicyError
from policies.settings import Policy
from policies.testing import evaluate, run_tests
from tests.support.policies import MINIMAL, SETTINGS, write
from tests.support.servers import require_binary

TESTS = """package a_test

import data.cordon.request

test_passes if request.decision.allow

test_fails if not request.decision.allow

test_is_five := 5

test_errs if to_number("junk") == 1

todo_test_later if false

test_with_input if request.decision.allow with input as {"x": 1}

helper if true
"""


def outcomes(folder: Path, pattern: str = "") -> dict[str, str]:
    return {result.name.removeprefix("data.a_test."): result.outcome for result in run_tests(folder, pattern)}


def test_each_test_has_its_outcome(tmp_path: Path) -> None:
    assert outcomes(write(tmp_path, MINIMAL | {"a_test.rego": TESTS})) == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_is_five": "failed",
        "test_errs": "error",
        "todo_test_later": "skipped",
        "test_with_input": "passed",
    }


def test_opa_gives_the_same_outcomes(tmp_path: Path) -> None:
    """But for errors in builtins, which OPA takes for undefined."""
    write(tmp_path, MINIMAL | {"a_test.rego": TESTS.replace('test_errs if to_number("junk") == 1\n\n', "")})
    run = subprocess.run([str(require_binary("opa")), "test", "--format=json", str(tmp_path)], capture_output=True)
    theirs = {
        each["name"]: "failed" if each.get("fail") else "skipped" if each.get("skip") else "passed"
        for each in json.loads(run.stdout)
    }
    ours = {name.removeprefix("todo_"): outcome for name, outcome in outcomes(tmp_path).items()}
    assert {name.removeprefix("todo_"): outcome for name, outcome in theirs.items()} == ours


def test_a_result_says_where_and_why(tmp_path: Path) -> None:
    results = {result.name: result for result in run_tests(write(tmp_path, MINIMAL | {"a_test.rego": TESTS}))}
    failed = results["data.a_test.test_fails"]
    assert (failed.file, failed.line, failed.detail) == ("a_test.rego", 7, "it is undefined")
    assert results["data.a_test.test_is_five"].detail == "it is 5, not true"
    assert (
        results["data.a_test.test_errs"].detail == "the policy failed at a_test.rego:11; an error in a builtin denies"
    )
    assert results["data.a_test.test_passes"].milliseconds > 0


def test_tests_are_chosen_by_a_part_of_their_name(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL | {"a_test.rego": TESTS})
    assert set(outcomes(tmp_path, "pass")) == {"test_passes"}
    assert outcomes(tmp_path, "nothing") == {}


def test_a_test_of_several_bodies_runs_once(tmp_path: Path) -> None:
    twice = "package a_test\n\ntest_any if false\n\ntest_any if true\n"
    assert [result.outcome for result in run_tests(write(tmp_path, MINIMAL | {"a_test.rego": twice}))] == ["passed"]


def test_functions_are_no_tests(tmp_path: Path) -> None:
    assert run_tests(write(tmp_path, MINIMAL | {"a_test.rego": "package a_test\n\ntest_of(x) if x\n"})) == []


@pytest.mark.parametrize(
    "text",
    [
        "package a_test\n\ntest_x if {\n",
        "",
        "package a_test\n\ntest_x if test_y\n\ntest_y if test_x\n",
        f"package a_test\n\nx := {'[' * 40}{']' * 40}\n",
    ],
)
def test_tests_that_cannot_be_run_safely_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BundleError, match=r"a_test\.rego"):
        run_tests(write(tmp_path, MINIMAL | {"a_test.rego": text}))


def test_tests_run_on_exact_arithmetic(tmp_path: Path) -> None:
    text = 'package a_test\n\ntest_thirds if count("🎉") == 1\n\ntest_sum if sum([1, 2]) == 3\n'
    assert outcomes(write(tmp_path, MINIMAL | {"a_test.rego": text})) == {"test_thirds": "passed", "test_sum": "passed"}


def test_an_evaluation_shows_what_was_asked_and_said(tmp_path: Path) -> None:
    write(tmp_path)
    found = evaluate(tmp_path, b"{}", Moment.REQUEST, SETTINGS)
    assert found.decision.allow
    assert json.loads(found.result) == {"allow": True}
    assert found.rule == "data.cordon.request.decision"
    assert len(found.revision) == 16
    assert found.milliseconds > 0
    assert evaluate(tmp_path, b"{}", Moment.FINDING, SETTINGS).rule == "data.cordon.response.decision"


def test_an_evaluation_of_a_bad_bundle_or_document_is_an_error(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(PolicyError):
        evaluate(tmp_path, b"{", Moment.REQUEST, SETTINGS)
    write(tmp_path, {"request.rego": "package cordon.request\n\ndecision := http.send({})\n"})
    with pytest.raises(BundleError, match=r"request\.rego:3"):
        evaluate(tmp_path, b"{}", Moment.REQUEST, SETTINGS)


def test_an_evaluation_reads_results_for_envoy(tmp_path: Path) -> None:
    write(tmp_path, {"authz.rego": "package envoy.authz\n\nallow := true\n"})
    policy = Policy(request_rule="data.envoy.authz.allow", result_style="opa-envoy", unsafe_pass_answers=True)
    assert evaluate(tmp_path, b"{}", Moment.REQUEST, policy).decision.allow
