"""What a candidate would do otherwise with recorded calls, counted by kind, rule, tenant and route."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from policies.replay_answers import Anew
from policies.replay_past import Past
from policies.result import RequestDecision

Kind = Literal["refused", "allowed", "redaction", "endpoint", "answer_refused", "answer_allowed", "answer_redaction"]

MOST_EXAMPLES: Final = 1_000
NO_REASON: Final = "(no reason)"


@dataclass(frozen=True, slots=True)
class Difference:
    """What a candidate would do otherwise. `rules`: those of the candidate for a refusal, the recorded ones else."""

    kind: Kind
    index: int
    call: str
    tenant: str
    route: str
    rules: tuple[str, ...]
    before: str
    after: str


@dataclass(slots=True)
class Report:
    """What a replay found so far, of requests and of answers. `inputs`: how many were read; many calls may share one.

    `by_text`: answers that pass unless their text breaks what is demanded of it, which was not tried.
    `examples` are the first `MOST_EXAMPLES` differences of each kind.
    """

    revision: str
    calls: int = 0
    replayed: int = 0
    answers: int = 0
    answers_replayed: int = 0
    by_text: int = 0
    inputs: int = 0
    changed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    answers_left_out: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_tenant: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_route: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)

    def add(self, found: Sequence[Difference]) -> None:
        """Count the differences of a decision that was replayed; `changed` is how many decisions had any."""
        self.changed += bool(found)
        for difference in found:
            kind = difference.kind
            self.kinds[kind] += 1
            self.by_tenant[kind, difference.tenant] += 1
            self.by_route[kind, difference.route] += 1
            for rule in difference.rules:
                self.by_rule[kind, rule] += 1
            if self.kinds[kind] <= MOST_EXAMPLES:
                self.examples.append(difference)


def differences(past: Past, decision: RequestDecision) -> Sequence[Difference]:
    """What a candidate's decision changes for a recorded call."""
    if past.allowed and not decision.allow:
        rules = tuple(dict.fromkeys(reason.rule or "(no rule named)" for reason in decision.reasons)) or (NO_REASON,)
        detail = "; ".join(reason.detail for reason in decision.reasons)
        return (_difference("refused", past, rules, "allowed", detail or "refused without a reason"),)
    if not past.allowed:
        return (_allowed("allowed", past),) if decision.allow else ()
    found = _redaction("redaction", past, decision.redact)
    if decision.endpoints is not None and past.endpoint not in decision.endpoints:
        after = ", ".join(decision.endpoints) or "none"
        found = (*found, _difference("endpoint", past, (f"{past.endpoint} → {after}",), past.endpoint, after))
    return found


def answer_differences(past: Past, anew: Anew) -> Sequence[Difference]:
    """What a candidate changes for a recorded answer."""
    if past.allowed and anew.rules:
        after = anew.detail or "refused without a reason"
        return (_difference("answer_refused", past, anew.rules, "allowed", after),)
    if not past.allowed:
        return () if anew.rules else (_allowed("answer_allowed", past),)
    return _redaction("answer_redaction", past, anew.redact)


def _allowed(kind: Kind, past: Past) -> Difference:
    return _difference(kind, past, past.rules or (NO_REASON,), ", ".join(past.rules), "allowed")


def _redaction(kind: Kind, past: Past, asked: Mapping[str, str]) -> Sequence[Difference]:
    was = past.redacted
    redact = {what: how for what, how in asked.items() if what in past.findings} if past.findings else {}
    if redact == was:
        return ()
    kinds = sorted(what for what in {*redact, *was} if redact.get(what) != was.get(what))
    changes = tuple(f"{what}: {was.get(what, 'left')} → {redact.get(what, 'left')}" for what in kinds)
    return (_difference(kind, past, changes, _listed(was), _listed(redact)),)


def _difference(kind: Kind, past: Past, rules: tuple[str, ...], before: str, after: str) -> Difference:
    return Difference(kind, past.at, past.call, past.tenant, past.route, rules, before, after)


def _listed(redacted: Mapping[str, object]) -> str:
    return ", ".join(f"{kind} {how}" for kind, how in sorted(redacted.items())) or "nothing"
