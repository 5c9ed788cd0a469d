"""Test results as JUnit XML, the form that build servers read: a suite for each file, a case for each test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Final
from xml.etree import ElementTree as Xml

from policies.authoring.running import TestResult

_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2) does not allow in a text."""


def junit(results: Sequence[TestResult]) -> bytes:
    """The XML document, in UTF-8. The cases of `test_x[case]` are told one by one."""
    root = Xml.Element("testsuites", name="cordon policy test")
    for file, group in groupby(results, key=lambda result: result.file):
        suite = Xml.SubElement(root, "testsuite", name=_clean(file))
        for result in group:
            _test(suite, result)
        _count(suite)
    _count(root)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _test(suite: Xml.Element, result: TestResult) -> None:
    package, _, name = result.name.rpartition(".")
    if not result.cases:
        case = _case(suite, package, name, result, result.milliseconds)
        if result.outcome == "skipped":
            Xml.SubElement(case, "skipped")
        elif result.outcome != "passed":
            kind = "error" if result.outcome == "error" else "failure"
            _told(case, kind, result.detail, result.file, result.at or result.line)
    for one in result.cases:
        case = _case(suite, package, f"{name}[{one.name}]", result, result.milliseconds / len(result.cases))
        if not one.passed:
            _told(case, "failure", one.detail, result.file, one.at or result.line)


def _case(suite: Xml.Element, package: str, name: str, result: TestResult, milliseconds: float) -> Xml.Element:
    facts = {"classname": _clean(package), "name": _clean(name), "file": _clean(result.file), "line": str(result.line)}
    return Xml.SubElement(suite, "testcase", facts | {"time": f"{milliseconds / 1e3:.6f}"})


def _told(case: Xml.Element, kind: str, detail: str, file: str, line: int) -> None:
    Xml.SubElement(case, kind, message=_clean(detail)).text = _clean(f"{file}:{line}: {detail}")


def _count(element: Xml.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.find(kind) is not None for case in cases)))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.6f}")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
