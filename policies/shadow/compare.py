"""Two decisions on the same moment of a call: in which ways the second would have been another than the first."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from policies.combine import Decision
from policies.result import RequestDecision

KINDS: Final = ("refused", "allowed", "redaction", "endpoint", "plan", "label", "error")
"""Newly refused; newly allowed; redacted otherwise; sent elsewhere; an answer's plan, blocks, limits or schema
otherwise, or a request's limits or need of approval; labelled otherwise; the bundle could not decide at all."""

Difference = tuple[str, str]
"""A kind and the rule that makes the difference; for a redaction, an endpoint or a label, what changes."""

NO_RULE: Final = "(no rule named)"
NO_CANDIDATE: Final = "(no candidate)"
"""What stands for an endpoint that is none: whatever a bundle in shadow makes up may be of the call's content."""


def differences(
    before: Decision, after: Decision, findings: Collection[str], candidates: Sequence[str] = ()
) -> Iterator[Difference]:
    """What `after` changes. `findings`: the types that were found; redaction of others changes nothing.

    `candidates`: the endpoints, in order, that a decision leaves as they are where it names none.
    """
    if before.allow != after.allow:
        kind, decision = ("allowed", before) if after.allow else ("refused", after)
        rules = dict.fromkeys(each.rule or NO_RULE for each in decision.reasons) or (NO_RULE,)
        yield from ((kind, rule) for rule in rules)
    if not (before.allow and after.allow):
        return
    for finding in sorted(findings):
        was, now = before.redact.get(finding, "left"), after.redact.get(finding, "left")
        if was != now:
            yield "redaction", f"{finding}: {was} → {now}"
    if isinstance(before, RequestDecision) and isinstance(after, RequestDecision):
        first, second = (tuple(candidates) if each.endpoints is None else each.endpoints for each in (before, after))
        if first != second:
            yield "endpoint", f"{_shown(first, candidates)} → {_shown(second, candidates)}"
    planned = _REQUESTED if isinstance(before, RequestDecision) else _PLANNED
    yield from (("plan", name) for name in planned if getattr(before, name) != getattr(after, name))
    labels = before.labels.keys() | after.labels.keys()
    yield from (("label", name) for name in sorted(labels) if before.labels.get(name) != after.labels.get(name))


def _shown(endpoints: Sequence[str], candidates: Sequence[str]) -> str:
    return ", ".join(name if name in candidates else NO_CANDIDATE for name in endpoints)


_PLANNED: Final = ("plan", "block", "limits", "schema")
_REQUESTED: Final = ("require_approval", "limits")
