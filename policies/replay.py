"""Recorded calls, decided anew by a candidate bundle: what would be refused, allowed, redacted or routed otherwise.

The log says what was decided; the masked inputs of the decisions on each request and its answer are kept beside it, as
far as the bundle in force then could read them (`policy.loaded` says how far that was). A decision whose input is not
there, or does not show what the candidate reads, is not replayed, and is counted by the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from lineage.kept import Load
from policies.cache import Cache
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import PolicyError
from policies.reads import Reads, shows
from policies.replay_answers import TEXT, Anew, by_text, decide_anew, left_out
from policies.result import Reason, RequestDecision
from policies.settings import Policy

Kind = Literal["refused", "allowed", "redaction", "endpoint", "answer_refused", "answer_allowed", "answer_redaction"]

MOST_EXAMPLES: Final = 1_000
MOST_KNOWN: Final = 20_000
MOST_REVISIONS: Final = 1_000
_ABSENT: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Past:
    """One recorded decision on a request or an answer.

    `rules`: why it was refused; `redacted`: finding type to what was done; `own`: the revision of the tenant's own
    bundle that decided beside the one of `revision`.
    """

    index: int
    call: str
    tenant: str
    route: str
    revision: str
    side: str
    allowed: bool
    rules: tuple[str, ...] = ()
    endpoint: str = ""
    findings: frozenset[str] = frozenset()
    redacted: Mapping[str, str] = field(default_factory=lambda: _ABSENT)
    own: str = ""


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

    `examples` are the first `MOST_EXAMPLES` differences of each kind.
    """

    revision: str
    calls: int = 0
    replayed: int = 0
    answers: int = 0
    answers_replayed: int = 0
    inputs: int = 0
    changed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    answers_left_out: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_tenant: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_route: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)

    def add(self, found: list[Difference]) -> None:
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


class Replay:
    """Decides recorded calls anew by a candidate, whose `engine` may remember decisions."""

    def __init__(self, engine: EmbeddedEngine, settings: Policy, load: Load) -> None:
        self._engine = engine
        self._pass_answers = settings.unsafe_pass_answers
        self._load = load
        self._hidden: dict[str, tuple[str, str]] = {}
        self._known: Cache[RequestDecision | Literal["gone"]] = Cache(MOST_KNOWN)
        self._known_answers: Cache[Anew | Literal["gone"]] = Cache(MOST_KNOWN)
        self.report = Report(engine.revision)

    def take(self, index: int, record: Mapping[str, object]) -> None:
        """Take the log's next record: a decision is replayed, a loaded bundle noted, all else passed over."""
        kind = record.get("kind")
        if kind == "policy.loaded":
            self.loaded(record)
        elif kind in {"call.intent", "call.refused"}:
            counted = record.get("count")
            if isinstance(counted, int) and record.get("stage") == "decision":
                self.report.calls += counted
                self.report.left_out["only counted"] += counted
            elif (past := read_past(index, record)) is not None:
                self._replay(past)
        elif kind == "call.outcome" and record.get("status") and record.get("final"):
            self._replay_answer(read_answered(index, record), record)

    def loaded(self, record: Mapping[str, object]) -> None:
        """Note what a bundle that was in force showed of its inputs; also of one that was loaded before the period."""
        engine = self._engine
        if len(self._hidden) < MOST_REVISIONS:
            self._hidden[str(record.get("revision"))] = (
                _hidden(engine.request_reads, record.get("reads")),
                _hidden(engine.answer_reads, record.get("answer_reads", []), "phase"),
            )

    def _replay(self, past: Past) -> None:
        self.report.calls += 1
        if past.own:
            # What was done is the word of both: one that takes the place of either cannot be compared with it.
            self.report.left_out["it was decided by two bundles, the common one and the tenant's own"] += 1
            return
        why = self._hidden.get(past.revision, _UNKNOWN)[0] or ("" if past.side else "its input was not kept")
        decision = None if why else self._decision(past)
        if decision is None or decision == "gone":
            self.report.left_out[why or "its input is gone"] += 1
        else:
            self.report.replayed += 1
            self.report.add(list(differences(past, decision)))

    def _replay_answer(self, past: Past, record: Mapping[str, object]) -> None:
        report = self.report
        report.answers += 1
        why = left_out(record) or self._hidden.get(past.revision, _UNKNOWN)[1]
        if self._pass_answers:
            why = "answers pass undecided (policy.unsafe_pass_answers)"
        anew = None if why else self._anew(past)
        if anew is not None and anew != "gone" and not anew.rules and not past.allowed and by_text(past.rules):
            why = TEXT
        if anew is None or anew == "gone" or why:
            report.answers_left_out[why or "its input is gone"] += 1
        else:
            report.answers_replayed += 1
            report.add(list(_answer_differences(past, anew)))

    def _decision(self, past: Past) -> RequestDecision | Literal["gone"]:
        """The candidate's decision; calls with the same input share it."""
        key = past.side.encode()
        decision = self._known.get(key)
        if decision is None:
            document = self._loaded(past)
            decision = "gone" if document is None else self._decide(document)
            self._known.put(key, decision, 1)
        return decision

    def _anew(self, past: Past) -> Anew | Literal["gone"]:
        key = past.side.encode() + (b"+" if past.findings else b"-")
        anew = self._known_answers.get(key)
        if anew is None:
            document = self._loaded(past)
            decide, reads = self._engine.decide_now, self._engine.answer_reads
            anew = "gone" if document is None else decide_anew(document, decide, reads, found=bool(past.findings))
            self._known_answers.put(key, anew, 1)
        return anew

    def _loaded(self, past: Past) -> bytes | None:
        document = self._load(past.tenant, past.side)
        self.report.inputs += document is not None
        return document

    def _decide(self, document: bytes) -> RequestDecision:
        try:
            decision = self._engine.decide_now(Moment.REQUEST, document)
        except PolicyError as error:
            return RequestDecision(False, (Reason("policy_failed", str(error)),))
        assert isinstance(decision, RequestDecision)
        return decision


_UNKNOWN: Final = ("the log does not say what its input shows",) * 2


def _hidden(reads: Reads, told: object, *known: str) -> str:
    """What a candidate reads and the inputs of a revision (`told` by the log) do not show; empty where they do."""
    if told is None:
        return ""
    if reads is None:
        return "the candidate may read all of the input"
    shown = frozenset([*map(str, told if isinstance(told, list) else ()), *known])
    missing = sorted(part for part in reads if not shows(shown, part))
    return f"its input does not show input.{missing[0]}" if missing else ""


def read_past(index: int, record: Mapping[str, object]) -> Past | None:
    """The decision on a request that a record tells of; None for later attempts and for refusals not by policy."""
    allowed = record.get("kind") == "call.intent"
    if allowed and record.get("attempt") != 1:
        return None
    if not allowed and (record.get("stage") != "decision" or not record.get("side")):
        return None
    return _past(index, record, allowed=allowed)


def read_answered(index: int, record: Mapping[str, object]) -> Past:
    """What an outcome tells of the decisions on an answer."""
    return _past(index, record, allowed=record.get("verdict") == "allowed")


def _past(index: int, record: Mapping[str, object], *, allowed: bool) -> Past:
    findings, redacted = _mapping(record, "findings"), _mapping(record, "redacted")
    reasons = record.get("reasons")
    rules = [str(reason.get("rule", "")) for reason in reasons] if isinstance(reasons, list) else []
    return Past(
        index=index,
        call=str(record.get("call", "")),
        tenant=str(record.get("tenant", "")),
        route=str(record.get("route", "")),
        revision=str(record.get("policy", "")),
        side=str(record.get("side", "")),
        allowed=allowed,
        rules=tuple(rules),
        endpoint=str(record.get("endpoint", "")),
        findings=frozenset(findings),
        redacted={kind: str(how) for kind, how in redacted.items()},
        own=str(record.get("tenant_policy", "")),
    )


def differences(past: Past, decision: RequestDecision) -> Iterable[Difference]:
    """What a candidate's decision changes for a recorded call."""
    rules = tuple(dict.fromkeys(reason.rule or "(no rule named)" for reason in decision.reasons)) or ("(no reason)",)
    if past.allowed and not decision.allow:
        detail = "; ".join(reason.detail for reason in decision.reasons)
        yield _difference("refused", past, rules, "allowed", detail or "refused without a reason")
    elif decision.allow and not past.allowed:
        yield _difference("allowed", past, past.rules or ("(no reason)",), ", ".join(past.rules), "allowed")
    if not (past.allowed and decision.allow):
        return
    yield from _redaction("redaction", past, decision.redact)
    if decision.endpoints is not None and past.endpoint not in decision.endpoints:
        after = ", ".join(decision.endpoints) or "none"
        yield _difference("endpoint", past, (f"{past.endpoint} → {after}",), past.endpoint, after)


def _answer_differences(past: Past, anew: Anew) -> Iterable[Difference]:
    """What a candidate changes for a recorded answer."""
    if past.allowed and anew.rules:
        yield _difference("answer_refused", past, anew.rules, "allowed", anew.detail or "refused without a reason")
    elif not past.allowed and not anew.rules:
        yield _difference("answer_allowed", past, past.rules or ("(no reason)",), ", ".join(past.rules), "allowed")
    if past.allowed and not anew.rules:
        yield from _redaction("answer_redaction", past, anew.redact)


def _redaction(kind: Kind, past: Past, asked: Mapping[str, str]) -> Iterable[Difference]:
    redact = {what: how for what, how in asked.items() if what in past.findings}
    if redact != past.redacted:
        kinds = sorted(what for what in {*redact, *past.redacted} if redact.get(what) != past.redacted.get(what))
        changes = tuple(f"{what}: {past.redacted.get(what, 'left')} → {redact.get(what, 'left')}" for what in kinds)
        yield _difference(kind, past, changes, _listed(past.redacted), _listed(redact))


def _difference(kind: Kind, past: Past, rules: tuple[str, ...], before: str, after: str) -> Difference:
    return Difference(kind, past.index, past.call, past.tenant, past.route, rules, before, after)


def _listed(redacted: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} {how}" for kind, how in sorted(redacted.items())) or "nothing"


def _mapping(record: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}
