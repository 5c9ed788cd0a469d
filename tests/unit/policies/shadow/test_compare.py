"""A difference is what would have happened otherwise to this call, and nothing else."""

from __future__ import annotations

from dataclasses import fields
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
        (request(), request(labels={"a": "b"}), [("label", "a")]),
        (request(labels={"a": "b", "c": "d"}), request(labels={"a": "x", "c": "d"}), [("label", "a")]),
        (request(labels={"a": "b"}), request(), [("label", "a")]),
        (request(labels={"a": "b"}), request(False, "eu"), [("refused", "eu")]),
        (request(), request(require_approval=True), [("plan", "require_approval")]),
        (request(), request(limits={"tokens": 1}), [("plan", "limits")]),
        (AnswerDecision(True), AnswerDecision(True, limits={"max_chars": 1}), [("plan", "limits")]),
        (AnswerDecision(True), AnswerDecision(True, schema={"type": "object"}), [("plan", "schema")]),
        (AnswerDecision(True, labels={"a": "b"}), AnswerDecision(True), [("label", "a")]),
        (AnswerDecision(True), AnswerDecision(True, plan="buffer"), [("plan", "plan")]),
        (AnswerDecision(True), AnswerDecision(True, block=(BlockPattern("a", "x"),)), [("plan", "block")]),
        (AnswerDecision(True), AnswerDecision(False, (Reason("x", ""),)), [("refused", "x")]),
        (AnswerDecision(True, redact=MASK), AnswerDecision(True), [("redaction", "email: mask → left")]),
    ],
)
def test_differences(before: Decision, after: Decision, found: list[tuple[str, str]]) -> None:
    assert list(differences(before, after, {"email"}, ("a", "b"))) == found


VALUES: dict[str, Any] = {
    "redact": MASK, "endpoints": ("b",), "labels": {"a": "b"}, "require_approval": True, "limits": {"max_chars": 1},
    "plan": "buffer", "block": (BlockPattern("a", "x"),), "schema": {},
}  # fmt: skip


@pytest.mark.parametrize("decision", [RequestDecision, AnswerDecision])
def test_each_part_of_a_decision_that_acts_is_compared(decision: Any) -> None:
    """One that is added is to be compared too; reasons act on nothing where a call is allowed."""
    for part in fields(decision):
        if part.name not in {"allow", "reasons"}:
            after = decision(True, **{part.name: VALUES[part.name]})
            assert list(differences(decision(True), after, {"email"}, ("a", "b"))), part.name
