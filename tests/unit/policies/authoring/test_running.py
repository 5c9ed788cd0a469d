"""Tests of a bundle: their outcomes, cases, failures and places; processes that break or never end cost one test."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from policies.authoring import running
from policies.authoring.running import Run, TestResult, run_tests
from policies.bundle import load_bundle
from policies.errors import BundleError
from tests.support.policies import MINIMAL, STARTER, bundle

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


def run(text: str, pattern: str = "", **options: object) -> Run:
    return run_tests(bundle(MINIMAL | {"a_test.rego": text}), pattern, **options)  # type: ignore[arg-type]


def outcomes(text: str, pattern: str = "") -> dict[str, str]:
    return {result.name.removeprefix("data.a_test."): result.outcome for result in run(text, pattern).results}


def failed(body: str, name: str = "data.a_test.test_x") -> TestResult:
    (result,) = [each for each in run("package a_test\n\n" + body).results if each.name == name]
    assert result.outcome == "failed"
    return result


def test_each_test_has_its_outcome_and_the_files_order() -> None:
    assert list(outcomes(TESTS).items()) == [
        ("test_passes", "passed"),
        ("test_fails", "failed"),
        ("test_is_five", "failed"),
        ("test_errs", "error"),
        ("todo_test_later", "skipped"),
        ("test_with_input", "passed"),
    ]


def test_a_result_says_where_and_why() -> None:
    results = {result.name.rpartition(".")[2]: result for result in run(TESTS).results}
    fails = results["test_fails"]
    assert (fails.file, fails.line, fails.at) == ("a_test.rego", 7, 7)
    assert fails.detail == "`not request.decision.allow` fails: request.decision.allow is true"
    assert results["test_is_five"].detail == "it is 5, not true"
    assert results["test_errs"].detail == "the policy failed at a_test.rego:11; an error in a builtin denies"
    assert results["test_passes"].milliseconds > 0


COMPARED = {
    "two sides": ("test_x if {\n\tx := 1\n\tx == 2\n}\n", 5, "`x == 2` fails: x is 1"),
    "under a mock": (
        'test_x if data.a_test.got == {"a": 1} with input as {"a": 2}\n\ngot := input\n',
        3,
        '`data.a_test.got == {"a": 1} with input as {"a": 2}` fails: data.a_test.got is {"a": 2}',
    ),
    "undefined": ("test_x if {\n\ttrue\n\tinput.y.z == 2\n}\n", 5, "`input.y.z == 2` fails: input.y.z is undefined"),
    "a call": ('test_x if startswith("abc", "b")\n', 3, "fails: startswith"),
    "a membership": ('test_x if "a" in ["b"]\n', 3, '`"a" in ["b"]` fails'),
    "an assignment": ("test_x if {\n\ty := input.nothing\n\ty\n}\n", 4, "input.nothing is undefined"),
    "no member": ("test_x if {\n\tsome y in [1, 2]\n\ty > 5\n}\n", 5, "`y > 5` fails: y is 1 or 2"),
    "nothing to iterate": ("test_x if {\n\tsome y in input.ys\n\ty > 5\n}\n", 4, "input.ys is undefined"),
    "every": ("test_x if {\n\tevery y in [1, 2] {\n\t\ty == 1\n\t}\n}\n", 4, "fails"),
    "what not looks at": (
        "test_x if not startswith(input.a, `x`) with input as {}\n",
        3,
        "`not startswith(input.a, `x`) with input as {}` fails",
    ),
    "arithmetic": ("test_x if count(`ab`) + 1 == 4\n", 3, "count(`ab`) + 1 is 3"),
    "two on a line": ("test_x if { true; 1 == 2; true }\n", 3, "`1 == 2` fails"),
    "imported": ("import data.a_test.lib as other\n\ntest_x if other.y == 2\n\nlib.y := 1\n", 5, "other.y is 1"),
}


@pytest.mark.parametrize("case", COMPARED)
def test_a_failure_says_which_statement_and_what_it_compared(case: str) -> None:
    body, line, detail = COMPARED[case]
    result = failed(body)
    assert (result.at, detail in result.detail) == (line, True), result.detail


def test_long_values_are_cut() -> None:
    detail = failed(
        'test_x if {\n\tx := concat("", [w | some _ in numbers.range(1, 5000); w := "ab"])\n\tx == "y"\n}\n'
    )
    assert len(detail.detail) < 1_000


def test_cases_are_told_one_by_one() -> None:
    result = failed("""test_x[name] if {
	some name, case in {"one": {"a": 1, "b": 1}, "two": {"a": 1, "b": 2}, "three": {"a": 3, "b": 3}}
	case.a == case.b
}
""")
    assert {case.name: case.passed for case in result.cases} == {"one": True, "two": False, "three": True}
    two = next(case for case in result.cases if case.name == "two")
    assert (two.at, two.detail) == (5, "`case.a == case.b` fails: case.a is 1; case.b is 2")
    assert result.detail == "1 of 3 cases fail"


def test_each_definition_is_a_test_of_its_own() -> None:
    assert outcomes("package a_test\n\ntest_any if false\n\ntest_any if true\n\ntest_any[x] if some x in [1]\n") == {
        "test_any": "failed",
        "test_any#01": "passed",
        "test_any#02": "passed",
    }


def test_tests_are_chosen_by_a_part_of_their_name() -> None:
    assert set(outcomes(TESTS, "pass")) == {"test_passes"}
    assert outcomes(TESTS, "nothing") == {}


def test_functions_are_no_tests() -> None:
    assert run("package a_test\n\ntest_of(x) if x\n").results == ()


@pytest.mark.parametrize(
    "text",
    [
        "package a_test\n\ntest_x if {\n",
        "",
        "package a_test\n\ntest_x if test_y\n\ntest_y if test_x\n",
        f"package a_test\n\nx := {'[' * 40}{']' * 40}\n",
    ],
)
def test_tests_that_cannot_be_run_safely_are_refused(text: str) -> None:
    with pytest.raises(BundleError, match=r"a_test\.rego"):
        run(text)


def test_tests_run_on_exact_arithmetic() -> None:
    text = 'package a_test\n\ntest_thirds if count("🎉") == 1\n\ntest_sum if sum([1, 2]) == 3\n'
    assert outcomes(text) == {"test_thirds": "passed", "test_sum": "passed"}


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_the_number_of_processes_changes_nothing(jobs: int) -> None:
    found = run_tests(load_bundle(STARTER), jobs=jobs, coverage=True)
    other = run_tests(load_bundle(STARTER), coverage=True)
    assert [(each.name, each.outcome) for each in found.results] == [
        (each.name, each.outcome) for each in other.results
    ]
    assert found.coverage == other.coverage


SLOW = "numbers.range(1, 90000)"


def test_a_test_that_never_ends_costs_itself_alone() -> None:
    text = f"""package a_test

test_a if true

test_b if {{
	some x in {SLOW}
	some y in {SLOW}
	x + y == 0
}}

test_c if true
"""
    began = time.monotonic()
    found = run(text, seconds=1.0)
    assert [result.outcome for result in found.results] == ["passed", "error", "passed"]
    assert found.results[1].detail == "it took longer than 1 s"
    assert time.monotonic() - began < 20


def test_a_test_that_breaks_its_process_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is killed from outside while the test runs, as the system does when memory runs out."""
    real = running._Process.ask

    def ask(self: running._Process, test: dict[str, object], seconds: float) -> dict[str, object]:
        if str(test["name"]).endswith("test_b"):
            threading.Timer(0.3, os.kill, (self._process.pid, signal.SIGKILL)).start()
        return real(self, test, seconds)

    monkeypatch.setattr(running._Process, "ask", ask)
    text = (
        f"package a_test\n\ntest_a if true\n\ntest_b if {{\n\tsome x in {SLOW}\n\tsome y in {SLOW}\n\tx + y == 0\n}}\n"
    )
    found = run(text + "\ntest_c if true\n", seconds=30.0)
    assert [result.outcome for result in found.results] == ["passed", "error", "passed"]
    assert found.results[1].detail == "the policy engine broke down"


def test_no_process_is_left_behind() -> None:
    def children() -> int:
        listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True)
        return listed.stdout.count("policies.authoring.worker")

    run(TESTS, jobs=3)
    assert children() == 0


def test_what_a_test_prints_of_a_mock_cannot_end_a_line_of_the_protocol() -> None:
    result = failed('test_x if "a\\nb\\u2028" == input.x with input as {"x": "c\\nd"}\n')
    assert "\n" not in result.detail


def test_tests_of_a_folder_are_those_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for place, text in MINIMAL.items():
        (tmp_path / place).write_text(text)
    (tmp_path / "sub/b_test.rego").write_text("package b_test\n\ntest_b if true\n")
    (tmp_path / "in_a_served_file.rego").write_text("package c\n\ntest_c if true\n")
    names = [(each.file, each.name) for each in run_tests(load_bundle(tmp_path)).results]
    assert names == [("in_a_served_file.rego", "data.c.test_c"), ("sub/b_test.rego", "data.b_test.test_b")]


def test_what_would_not_be_evaluated_as_opa_does_is_an_error_of_the_tests_that_reach_it() -> None:
    text = """package a_test

test_a if true

test_b if helper == 1

helper := 1 if http.send({"method": "get", "url": "http://127.0.0.1:9"})

test_c if lower("A") == "b" with lower as "b"
"""
    found = run(text)
    assert [result.outcome for result in found.results] == ["passed", "error", "error"]
    assert "a_test.rego:7:16: http.send is not evaluated here as OPA does it" in found.results[1].detail
    assert "replacing a function by `with`" in found.results[2].detail


def test_a_served_rule_that_would_be_refused_is_no_ground_for_a_pass() -> None:
    files = MINIMAL | {
        "lib.rego": 'package lib\n\nok if not http.send({"url": "x"}).body\n',
        "a_test.rego": "package a_test\n\ntest_a if data.lib.ok\n",
    }
    assert [result.outcome for result in run_tests(bundle(files)).results] == ["error"]


def test_many_tests_on_several_processes_keep_their_order() -> None:
    text = "package a_test\n\n" + "".join(f"test_{number} if {number} >= 0\n" for number in range(300))
    found = run(text, jobs=3)
    assert [result.name for result in found.results] == [f"data.a_test.test_{number}" for number in range(300)]
    assert found.count("passed") == 300
