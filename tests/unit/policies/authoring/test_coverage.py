"""Coverage: the lines are the author's, what nothing evaluates is not forgotten, and tests do not count."""

from __future__ import annotations

from policies.authoring.coverage import Coverage, share
from policies.authoring.running import run_tests
from tests.support.policies import bundle

REQUEST = """package cordon.request

import data.lib

decision := {"allow": ok, "n": n}

default ok := false

ok if {
	lib.near(input.x)
	not lib.far(input.y)
}

n := count(input.xs) + 1

grade(x) := "low" if {
	x < 10
} else := "middle" if {
	x < 20
} else := "high"
"""
FILES = {
    "request.rego": REQUEST,
    "lib.rego": "package lib\n\nnear(x) if x == 1\n\nfar(x) if x == 9\n",
    "never.rego": "package never\n\nf(x) := y if {\n\ty := x + 1\n\ty > 3\n}\n",
}


def covered(tests: str, pattern: str = "") -> Coverage:
    found = run_tests(bundle(FILES | {"a_test.rego": "package a_test\n\n" + tests}), pattern, coverage=True).coverage
    assert found is not None
    return found


def missed(coverage: Coverage) -> dict[str, tuple[int, ...]]:
    return {each.file: each.missed for each in coverage.files}


def test_lines_are_those_that_were_written() -> None:
    found = covered('test_a if data.cordon.request.ok with input as {"x": 1, "y": 2}\n')
    assert missed(found) == {"lib.rego": (), "never.rego": (3, 4, 5), "request.rego": (5, 14, 16, 17, 19)}


def test_a_file_that_no_test_touches_counts_in_full() -> None:
    found = covered("test_a if true\n")
    assert all(each.covered == 0 and each.lines > 0 for each in found.files)
    assert found.line_percent == found.rule_percent == 0.0
    assert {each.rule for each in found.uncovered} >= {"data.never.f", "data.lib.near", "data.cordon.request.decision"}


def test_no_test_at_all_covers_nothing() -> None:
    assert covered("helper := 1\n").line_percent == 0.0
    assert covered("todo_test_a if true\n").line_percent == 0.0
    assert covered("test_a if data.lib.near(1)\n", "other").line_percent == 0.0


def test_coverage_adds_up_over_tests_and_a_rule_needs_one_whole_body() -> None:
    low = covered('test_a if data.cordon.request.grade(1) == "low"\n')
    assert "data.cordon.request.grade" not in {each.rule for each in low.uncovered}
    both = covered(
        'test_a if data.cordon.request.grade(1) == "low"\n\ntest_b if data.cordon.request.grade(15) == "middle"\n'
    )
    assert set(missed(both)["request.rego"]) < set(missed(low)["request.rego"])
    halfway = covered('test_a if not data.cordon.request.ok with input as {"x": 2}\n')
    assert ("data.cordon.request.ok", 9) in {(each.rule, each.line) for each in halfway.uncovered}
    assert 11 in missed(halfway)["request.rego"]


def test_tests_and_guards_do_not_count() -> None:
    files = {each.file for each in covered("test_a if data.lib.near(1)\n").files}
    assert files == set(FILES)


def test_a_failing_test_covers_what_it_evaluated() -> None:
    found = covered("test_a if data.lib.near(2)\n")
    assert 3 not in missed(found)["lib.rego"]
    assert 5 in missed(found)["lib.rego"]


def test_shares_are_rounded_down() -> None:
    assert share(1999, 2000) == 99.9
    assert share(2000, 2000) == 100.0
    assert share(0, 0) == 100.0
