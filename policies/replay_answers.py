"""Recorded decisions on answers, decided anew by a candidate.

What is kept is policy's input at the last decision on an answer. At the answer's head policy is shown the same without
what only its body tells, so that input follows from it; at a finding, what it is shown differs from the last only by
what was not found yet. What depends on the answer's text (its own patterns, a schema, a length) cannot be told again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from policies.combine import asks_more
from policies.engine import Moment
from policies.errors import PolicyError
from policies.reads import Reads, shows
from policies.result import AnswerDecision, RequestDecision

BY_TEXT: Final = ("blocked_pattern:", "too_long", "wrong_shape")
"""Rules of refusals that the answer's own text broke, whatever was decided later."""
TEXT: Final = "whether it is refused depends on the answer's text"

Decide = Callable[[Moment, bytes], RequestDecision | AnswerDecision]


@dataclass(frozen=True, slots=True)
class Anew:
    """What is said now of a recorded answer: the rules that refuse it (none: it passes), and what is redacted.

    `by_text`: it passes only if its text does not break the patterns, limits or schema that are demanded at the head.
    """

    rules: tuple[str, ...]
    detail: str
    redact: Mapping[str, str]
    by_text: bool = False


def decide_anew(document: bytes, decide: Decide, reads: Reads, *, found: Collection[str]) -> Anew:
    """Decide at the head, at a finding where any was `found`, and at the end; the first refusal counts.

    What a later decision demands that only the one at the head can, or redacts when it is with the client already, is
    a refusal, as in the gateway.
    """
    last = orjson.loads(document)
    redact: dict[str, str] = {}
    planned: AnswerDecision | None = None
    for moment in (Moment.ANSWER_HEAD, *([Moment.FINDING] if found else []), Moment.ANSWER_END):
        shown = _at_head(last) if moment is Moment.ANSWER_HEAD else dict(last)
        shown.pop("phase", None)
        if shows(reads, "phase"):
            shown["phase"] = moment.value
        try:
            decision = decide(moment, orjson.dumps(shown))
        except PolicyError as error:
            return Anew(("policy_failed",), str(error), {})
        assert isinstance(decision, AnswerDecision)
        if planned is None:
            planned = decision
        elif asks_more(decision, planned):
            detail = f"it asks at {moment} for what only the decision at the answer's head can ask"
            return Anew(("policy_failed",), detail, {})
        late = [kind for kind in found if kind in decision.redact and kind not in redact]
        if moment is Moment.ANSWER_END and late:
            return Anew(("policy_failed",), f"it asks to redact {', '.join(sorted(late))} at the end", {})
        if not decision.allow:
            named = dict.fromkeys(reason.rule or "(no rule named)" for reason in decision.reasons)
            return Anew(tuple(named) or ("(no reason)",), "; ".join(each.detail for each in decision.reasons), {})
        redact.update(decision.redact)
    assert planned is not None
    demanded = planned.block or planned.limits or planned.schema is not None
    return Anew((), "", redact, bool(demanded))


def by_text(rules: tuple[str, ...]) -> bool:
    """Whether a recorded refusal was for what the answer's text was."""
    return any(rule.startswith(BY_TEXT) for rule in rules)


def _at_head(last: Mapping[str, Any]) -> dict[str, Any]:
    """The input at the head: nothing received, nothing found, no model named."""
    shown = dict(last)
    content, answer = shown.get("content"), shown.get("answer")
    if isinstance(content, dict):
        nothing = {"bytes": 0, "findings": {}}
        shown["content"] = {name: nothing.get(name, value) for name, value in content.items()}
    if isinstance(answer, dict) and "model" in answer:
        shown["answer"] = {**answer, "model": ""}
    return shown
