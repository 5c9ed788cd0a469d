"""Recorded calls, decided anew by a candidate bundle: what would be refused, allowed, redacted or routed otherwise.

The log says what was decided; the masked input of each request's decision is kept beside it, as far as the bundle in
force then could read it (`policy.loaded` says how far that was). A call whose input is not there, or does not show
what the candidate reads, is not replayed, and is counted by the reason. Decisions on answers have no kept input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from lineage.kept import Load
from policies.embedded import EmbeddedEngine
from policies.envoy import read_envoy
from policies.errors import PolicyError
from policies.reads import shows
from policies.result import Reason, RequestDecision, read_request
from policies.settings import Policy

Kind = Literal["refused", "allowed", "redaction", "endpoint"]

MOST_EXAMPLES: Final = 1_000
MOST_KNOWN: Final = 20_000
_ABSENT: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Past:
    """One recorded decision on a request. `rules`: why it was refused; `redacted`: finding type to what was done."""

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
    """What a replay found so far. `examples` are the first `MOST_EXAMPLES` differences of each kind."""

    revision: str
    calls: int = 0
    replayed: int = 0
    same: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_tenant: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_route: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """How many calls would be dealt with otherwise."""
        return self.replayed - self.same

    def add(self, found: list[Difference]) -> None:
        """Count a replayed call and its differences."""
        self.replayed += 1
        self.same += not found
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
    """Decides recorded calls anew. `reads` is what the candidate reads of a request's input (None: perhaps all)."""

    def __init__(self, engine: EmbeddedEngine, settings: Policy, load: Load) -> None:
        self._engine = engine
        self._rule = settings.request_rule
        self._read = read_envoy if settings.result_style == "opa-envoy" else read_request
        self._reads = engine.request_reads
        self._load = load
        self._shown: dict[str, frozenset[str] | None] = {}
        self._known: dict[str, RequestDecision | None] = {}
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

    def loaded(self, record: Mapping[str, object]) -> None:
        """Note what a bundle that was in force showed of its inputs; also of one that was loaded before the period."""
        reads = record.get("reads")
        shown = None if reads is None else frozenset(map(str, reads if isinstance(reads, list) else ()))
        self._shown[str(record.get("revision"))] = shown

    def _replay(self, past: Past) -> None:
        self.report.calls += 1
        missing = self._missing(past.revision)
        if missing:
            self.report.left_out[missing] += 1
            return
        if not past.side:
            self.report.left_out["its input was not kept"] += 1
            return
        decision = self._decision(past)
        if decision is None:
            self.report.left_out["its input is gone"] += 1
        else:
            self.report.add(list(differences(past, decision)))

    def _missing(self, revision: str) -> str:
        """What the candidate reads and the inputs of a revision do not show; empty where they show it all."""
        if revision not in self._shown:
            return "the log does not say what its input shows"
        shown = self._shown[revision]
        if shown is None:
            return ""
        if self._reads is None:
            return "the candidate may read all of the input"
        hidden = sorted(part for part in self._reads if not shows(shown, part))
        return f"its input does not show input.{hidden[0]}" if hidden else ""

    def _decision(self, past: Past) -> RequestDecision | None:
        """The candidate's decision; calls with the same input share it."""
        if past.side in self._known:
            return self._known[past.side]
        document = self._load(past.tenant, past.side)
        decision = None if document is None else self._decide(document)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[past.side] = decision
        return decision

    def _decide(self, document: bytes) -> RequestDecision:
        try:
            return self._read(self._engine.evaluate(self._rule, document))
        except PolicyError as error:
            return RequestDecision(False, (Reason("policy_failed", str(error)),))


def read_past(index: int, record: Mapping[str, object]) -> Past | None:
    """The decision on a request that a record tells of; None for later attempts and for refusals not by policy."""
    allowed = record.get("kind") == "call.intent"
    if allowed and record.get("attempt") != 1:
        return None
    if not allowed and (record.get("stage") != "decision" or not record.get("side")):
        return None
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
    redact = {kind: how for kind, how in decision.redact.items() if kind in past.findings}
    if redact != past.redacted:
        kinds = sorted(kind for kind in {*redact, *past.redacted} if redact.get(kind) != past.redacted.get(kind))
        changes = tuple(f"{kind}: {past.redacted.get(kind, 'left')} → {redact.get(kind, 'left')}" for kind in kinds)
        yield _difference("redaction", past, changes, _listed(past.redacted), _listed(redact))
    if decision.endpoints is not None and past.endpoint not in decision.endpoints:
        after = ", ".join(decision.endpoints) or "none"
        yield _difference("endpoint", past, (f"{past.endpoint} → {after}",), past.endpoint, after)


def _difference(kind: Kind, past: Past, rules: tuple[str, ...], before: str, after: str) -> Difference:
    return Difference(kind, past.index, past.call, past.tenant, past.route, rules, before, after)


def _listed(redacted: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} {how}" for kind, how in sorted(redacted.items())) or "nothing"


def _mapping(record: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}
