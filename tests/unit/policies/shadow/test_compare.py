"""A difference is what would have happened otherwise to this call, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from policies.combine import Decision
from policies.result import AnswerDecision, BlockPattern, Reason, RequestDecision
from policies.shadow.compare import differences

MASK = {"email": "mask"}


def request(allow: bool = True, *rules: str, **parts: Any) -> RequestDecision:
    return RequestDecision(allow, tuple(Reason(rule, "why") for rule in rules), **parts)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (request(), request(False, "eu"), [("refused", "eu")]),
        (request(), request(False, "eu", "pii", "eu"), [("refused", "eu"), ("refused", "pii")]),
        (request(), request(False), [("refused", "(no rule named)")]),
        (request(), request(False, ""), [("refused", "(no rule named)")]),
        (request(False, "eu"), request(True, "advice"), [("allowed", "eu")]),
        (request(False, "eu"), request(False, "pii"), []),
        (request(), request(redact={"iban": "drop"}), []),
        (request(), request(redact=MASK), [("redaction", "email: left → mask")]),
        (request(redact=MASK), request(redact={"email": "drop"}), [("redaction", "email: mask → drop")]),
        (request(False, redact=MASK), request(False), []),
        (request(), request(endpoints=("a", "b")), []),
        (request(endpoints=("a",)), request(), [("endpoint", "a → a, b")]),
        (request(endpoints=("a", "b")), request(endpoints=("b", "a")), [("endpoint", "a, b → b, a")]),
        (request(), request(labels={"a": "b"}), []),
        (AnswerDecision(True), AnswerDecision(True, plan="buffer"), [("plan", "plan")]),
        (AnswerDecision(True), AnswerDecision(True, block=(BlockPattern("a", "x"),)), [("plan", "block")]),
        (AnswerDecision(True), AnswerDecision(False, (Reason("x", ""),)), [("refused", "x")]),
        (AnswerDecision(True, redact=MASK), AnswerDecision(True), [("redaction", "email: mask → left")]),
    ],
)
def test_differences(before: Decision, after: Decision, found: list[tuple[str, str]]) -> None:
    assert list(differences(before, after, {"email"}, ("a", "b"))) == found
