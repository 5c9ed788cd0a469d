"""JUnit XML: what build servers count, and texts that XML would not take."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from hypothesis import given
from hypothesis import strategies as st

from policies.authoring.junit import junit
from policies.authoring.running import Case, TestResult

RESULTS = (
    TestResult("data.a.test_a", "a_test.rego", 3, "passed", 1.5),
    TestResult("data.a.test_b", "a_test.rego", 5, "failed", 2.0, "`x < 1` fails: x is 2", 6),
    TestResult("data.a.test_c", "a_test.rego", 9, "error", 0.5, "it took longer than 5 s"),
    TestResult("data.b.todo_test_d", "b_test.rego", 3, "skipped", 0.0),
    TestResult(
        "data.b.test_e", "b_test.rego", 7, "failed", 4.0, "1 of 2 cases fail", 0,
        (Case("one", True), Case("two", False, "`a == b` fails", 8)),
    ),
)  # fmt: skip


def test_each_test_and_each_case_is_told_with_its_place() -> None:
    root = Xml.fromstring(junit(RESULTS))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "2", "errors": "1", "skipped": "1",
    }  # fmt: skip
    assert [suite.get("name") for suite in root] == ["a_test.rego", "b_test.rego"]
    assert [(case.get("classname"), case.get("name"), case.get("line")) for case in root.iter("testcase")] == [
        ("data.a", "test_a", "3"), ("data.a", "test_b", "5"), ("data.a", "test_c", "9"),
        ("data.b", "todo_test_d", "3"), ("data.b", "test_e[one]", "7"), ("data.b", "test_e[two]", "7"),
    ]  # fmt: skip
    failures = [each.text for each in root.iter("failure")]
    assert failures == ["a_test.rego:6: `x < 1` fails: x is 2", "b_test.rego:8: `a == b` fails"]
    assert sum(float(case.get("time", 0)) for case in root.iter("testcase")) == 0.008


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_makes_a_document_that_can_be_read(detail: str, case: str) -> None:
    result = TestResult("data.a.test_a", "a.rego", 1, "failed", 1.0, detail, 0, (Case(case, False, detail),))
    root = Xml.fromstring(junit([result]))
    assert root.get("failures") == "1"
