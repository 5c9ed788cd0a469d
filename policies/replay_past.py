"""What the log says of decisions that are to be decided anew, and how far their inputs show what policy reads."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from policies.combine import union
from policies.reads import Reads, shows

MOST_REVISIONS: Final = 1_000
UNKNOWN: Final = "the log does not say what its input shows"
ENDED: Final = ("allowed", "blocked")
NOT_KEPT: Final = "its input was not kept"
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class Past(NamedTuple):
    """One recorded decision on a request or, `answer`, on what came back.

    `at`: the record's index; `missing`: why it cannot be decided anew, as far as the record alone tells; `rules`: why
    it was refused; `findings`: by type; `redacted`: finding type to what was done; `own`: the revision of the tenant's
    own bundle that decided beside the one of `revision`, empty where there was none; `beside`: the one of the two
    that stays beside a candidate. Where two have the same `key`, a candidate decides them alike.
    """

    at: int
    call: str
    tenant: str
    route: str
    revision: str
    own: str
    beside: str
    side: str
    allowed: bool
    rules: tuple[str, ...]
    endpoint: str
    findings: Mapping[str, object]
    redacted: Mapping[str, object]
    answer: bool
    missing: str
    key: bytes


def read_past(index: int, record: Mapping[str, object], own: bool) -> Past | None:
    """The decision that a record tells of; None for other records, later attempts and refusals not by policy.

    `own`: the candidate takes the place of the tenant's own bundle, and else of the common one.
    """
    kind = record.get("kind")
    if kind == "call.intent":
        return _past(index, record, own, True, False) if record.get("attempt") == 1 else None
    if kind == "call.outcome":
        answered = record.get("status") and record.get("final")
        return _past(index, record, own, record.get("verdict") == "allowed", True) if answered else None
    if kind == "call.refused" and record.get("stage") == "decision" and record.get("side"):
        return _past(index, record, own, False, False)
    return None


def _past(index: int, record: Mapping[str, object], own: bool, allowed: bool, answer: bool) -> Past:
    text, reasons = record.get, record.get("reasons")
    findings = _mapping(text("findings"))
    side, revision, beside = str(text("side", "")), str(text("policy", "")), str(text("tenant_policy", ""))
    other = revision if own else beside
    return Past(  # by place: there is one for each recorded decision
        index,
        str(text("call", "")),
        str(text("tenant", "")),
        str(text("route", "")),
        revision,
        beside,
        other,
        side,
        allowed,
        tuple([str(each.get("rule", "")) for each in reasons]) if reasons and isinstance(reasons, list) else (),
        str(text("endpoint", "")),
        findings,
        _mapping(text("redacted")),
        answer,
        "the answer did not come to its end" if answer and text("verdict") not in ENDED else "" if side else NOT_KEPT,
        f"{side} {other} {','.join(sorted(findings))}".encode() if answer else f"{side} {other}".encode(),
    )


def _mapping(value: object) -> Mapping[str, object]:
    return value if value and isinstance(value, dict) else _NOTHING


class Shown:
    """What inputs show of the calls that bundles decided: as much as these read (`policy.loaded` says it)."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Reads, Reads]] = {}

    def loaded(self, record: Mapping[str, object]) -> None:
        """Note what a bundle read of requests and answers."""
        if len(self._told) < MOST_REVISIONS:
            answers = record.get("answer_reads", [])
            self._told[str(record.get("revision"))] = (_reads(record.get("reads")), _reads(answers, "phase"))

    def hides(self, past: Past, reads: Reads) -> str:
        """What of `reads` the input of a call does not show, as a reason; empty where it shows all.

        Where two bundles decided, it shows what either of them read.
        """
        shown: Reads = frozenset()
        for revision in (past.revision, past.own) if past.own else (past.revision,):
            told = self._told.get(revision)
            if told is None:
                return UNKNOWN
            shown = union(shown, told[past.answer])
        if shown is None:
            return ""
        if reads is None:
            return "the candidate may read all of the input"
        missing = sorted(part for part in reads if not shows(shown, part))
        return f"its input does not show input.{missing[0]}" if missing else ""


def _reads(told: object, *known: str) -> Reads:
    return None if told is None else frozenset([*map(str, told if isinstance(told, list) else ()), *known])
