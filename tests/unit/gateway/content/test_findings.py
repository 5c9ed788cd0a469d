"""Findings are counted, and each type is asked about once."""

from __future__ import annotations

import pytest

from gateway.content.findings import Findings


def test_each_type_is_asked_about_once_with_what_is_known_then() -> None:
    findings = Findings()
    assert not findings.pending
    findings.add("email", 60, "/a")
    findings.add("email", 95, "/b")
    findings.add("phone", 50, "/a")
    ask = findings.ask()
    assert ask.types == ("email", "phone") and not ask.binding
    assert ask.summary["email"] == {"count": 2, "confidence": 95, "pointers": ["/a", "/b"]}
    findings.add("email", 95, "/c")
    assert not findings.pending
    assert findings.summary()["email"]["count"] == 3
    assert ask.summary["email"]["count"] == 2
    assert list(findings.types) == ["email", "phone"]


@pytest.mark.parametrize("kind", ["blocked_pattern:x", "too_long", "wrong_shape"])
def test_what_the_plan_forbids_cannot_be_allowed(kind: str) -> None:
    findings = Findings()
    findings.add(kind, 100, "")
    assert findings.ask().binding


def test_places_are_few_and_each_told_once() -> None:
    findings = Findings()
    for number in range(40):
        findings.add("email", 1, f"/{number // 2}")
    assert findings.summary()["email"]["pointers"] == [f"/{number}" for number in range(10)]
