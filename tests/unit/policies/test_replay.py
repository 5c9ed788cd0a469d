"""Recorded calls decided anew: which differ, which cannot be replayed, and by what they are counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.kept import Load
from policies.bundle import make_bundle
from policies.embedded import EmbeddedEngine
from policies.replay import Replay
from policies.replay_report import MOST_EXAMPLES
from policies.settings import Policy

SETTINGS = Policy()
CANDIDATE = """
package cordon.request

default decision := {"allow": false, "reasons": [{"rule": "tenant", "detail": "not this tenant"}]}

decision := {"allow": true, "redact": {"email": "mask"}, "endpoints": ["eu"]} if input.tenant.id == "acme"
"""
READS = frozenset({"tenant.id"})
ANSWERS = """
package cordon.response

default decision := {"allow": true}

decision := {"allow": false, "reasons": [{"rule": "found", "detail": "ssn"}]} if {
	input.phase == "answer_end"
	input.content.findings.us_ssn
}

decision := {"allow": true, "redact": {"email": "mask"}} if {
	input.phase == "answer_head"
	input.content.findings == {}
	input.answer.model == ""
}

decision := {"allow": true, "redact": {"iban": "drop"}} if input.phase == "finding"
"""
ANSWER_READS = frozenset({"phase", "content.findings", "answer.model"})


def replay(documents: Mapping[str, object], reads: frozenset[str] | None = READS, module: str = CANDIDATE) -> Replay:
    bundle = make_bundle({"p.rego": module.encode(), "a.rego": ANSWERS.encode()})
    engine = EmbeddedEngine(bundle, SETTINGS, {SETTINGS.request_rule: reads, SETTINGS.response_rule: ANSWER_READS})
    work = Replay(engine, SETTINGS, _load(documents))
    work.loaded(
        {
            "kind": "policy.loaded",
            "revision": "r1",
            "reads": ["tenant", "call.method"],
            "answer_reads": ["content", "answer.model"],
        }
    )
    return work


def _load(documents: Mapping[str, object]) -> Load:
    return lambda _tenant, digest: _text(documents.get(digest))


def _text(document: object) -> bytes | None:
    return None if document is None else json.dumps(document).encode()


ACME = {"tenant": {"id": "acme"}}
OTHER = {"tenant": {"id": "globex"}}
DOCUMENTS = {
    "a": ACME,
    "g": OTHER,
    "plain": {"content": {"findings": {}}, "answer": {"model": "m"}},
    "ssn": {"content": {"findings": {"us_ssn": {"count": 1}}}, "answer": {"model": "m"}},
    "both": {"content": {"findings": {"email": {"count": 1}, "iban": {"count": 1}}}, "answer": {"model": "m"}},
}


def sent(side: str = "a", **more: object) -> dict[str, object]:
    record = {"kind": "call.intent", "attempt": 1, "call": "c", "tenant": "acme", "route": "crm", "policy": "r1"}
    return record | {"side": side, "endpoint": "eu", "findings": {}, "redacted": {}} | more


def refused(side: str = "a", **more: object) -> dict[str, object]:
    record = {"kind": "call.refused", "stage": "decision", "call": "c", "tenant": "acme", "route": "crm"}
    return record | {"policy": "r1", "side": side, "reasons": [{"rule": "old"}], "findings": {}} | more


@pytest.mark.parametrize(
    ("record", "kinds", "rules"),
    [
        (sent(), {}, {}),
        (refused("g"), {}, {}),
        (sent("g"), {"refused": 1}, {("refused", "tenant"): 1}),
        (refused("a"), {"allowed": 1}, {("allowed", "old"): 1}),
        (sent(findings={"email": 2}, redacted={"email": "mask"}), {}, {}),
        (sent(findings={"email": 2}), {"redaction": 1}, {("redaction", "email: left → mask"): 1}),
        (
            sent(findings={"iban": 1, "email": 1}, redacted={"iban": "drop", "email": "mask"}),
            {"redaction": 1},
            {("redaction", "iban: drop → left"): 1},
        ),
        (sent(endpoint="us"), {"endpoint": 1}, {("endpoint", "us → eu"): 1}),
    ],
)
def test_what_would_change_is_counted_by_kind_and_rule(
    record: dict[str, object], kinds: dict[str, int], rules: dict[tuple[str, str], int]
) -> None:
    work = replay(DOCUMENTS)
    work.take([(7, record)])
    report = work.report
    assert (report.calls, report.replayed, report.changed) == (1, 1, len(kinds))
    assert dict(report.kinds) == kinds
    assert dict(report.by_rule) == rules
    assert [found.index for found in report.examples] == [7] * len(kinds)
    assert sum(report.by_tenant.values()) == sum(report.by_route.values()) == len(kinds)


@pytest.mark.parametrize(
    ("record", "reads", "reason"),
    [
        (sent(""), READS, "its input was not kept"),
        (sent("gone"), READS, "its input is gone"),
        (sent(policy="unknown"), READS, "the log does not say what its input shows"),
        (sent(), frozenset({"content"}), "its input does not show input.content"),
        (sent(), frozenset({"call.path"}), "its input does not show input.call.path"),
        (sent(), None, "the candidate may read all of the input"),
        (
            sent(tenant_policy="x"),
            READS,
            "the tenant's own bundle that decided it (x) is neither configured nor rolled out any more",
        ),
    ],
)
def test_what_cannot_be_replayed_is_counted_by_its_reason(
    record: dict[str, object], reads: frozenset[str] | None, reason: str
) -> None:
    work = replay(DOCUMENTS, reads)
    work.take([(1, record)])
    assert (work.report.calls, work.report.replayed) == (1, 0)
    assert dict(work.report.left_out) == {reason: 1}


@pytest.mark.parametrize("reads", [frozenset({"call.method"}), frozenset({"tenant.id"}), frozenset({"tenant"})])
def test_what_an_input_shows_suffices(reads: frozenset[str]) -> None:
    work = replay(DOCUMENTS, reads)
    work.take([(1, sent())])
    assert work.report.replayed == 1


def test_a_bundle_that_read_everything_showed_everything() -> None:
    work = replay(DOCUMENTS, None)
    work.take([(0, {"kind": "policy.loaded", "revision": "r1", "reads": None})])
    work.take([(1, sent())])
    assert work.report.replayed == 1


@pytest.mark.parametrize(
    "record",
    [
        sent(attempt=2),
        refused(stage="identity"),
        refused("", reasons=[{"rule": "finding_in_address"}]),
        {"kind": "call.outcome", "call": "c"},
        {"kind": "alert.raised"},
    ],
    ids=["later-attempt", "other-stage", "not-by-policy", "outcome", "alert"],
)
def test_records_without_a_decision_are_passed_over(record: dict[str, object]) -> None:
    work = replay(DOCUMENTS)
    work.take([(1, record)])
    assert work.report.calls == 0


def test_refusals_that_were_only_counted_are_not_forgotten() -> None:
    work = replay(DOCUMENTS)
    work.take([(1, {"kind": "call.refused", "stage": "decision", "count": 40})])
    assert (work.report.calls, dict(work.report.left_out)) == (40, {"only counted": 40})


def test_a_candidate_that_fails_refuses() -> None:
    work = replay({"a": {"tenant": {"id": 12345678901234567890}}})
    work.take([(1, sent())])
    assert dict(work.report.by_rule) == {("refused", "policy_failed"): 1}


def test_the_same_input_is_decided_once_and_examples_are_bounded() -> None:
    loads = []
    work = replay(DOCUMENTS)
    load = work._load
    work._load = lambda tenant, digest: (loads.append(digest), load(tenant, digest))[1]
    for index in range(MOST_EXAMPLES + 50):
        work.take([(index, sent("g"))])
    assert loads == ["g"]
    assert work.report.kinds["refused"] == MOST_EXAMPLES + 50
    assert len(work.report.examples) == MOST_EXAMPLES


def answered(side: str = "plain", verdict: str = "allowed", **more: object) -> dict[str, object]:
    record = {"kind": "call.outcome", "call": "c", "tenant": "acme", "route": "crm", "policy": "r1", "status": 200}
    return record | {"verdict": verdict, "side": side, "final": True, "findings": {}, "redacted": {}} | more


REDACTED = {"email": "mask", "iban": "drop"}


@pytest.mark.parametrize(
    ("record", "kinds"),
    [
        (answered(), {}),
        (answered("ssn", findings={"us_ssn": 1}), {"answer_refused": 1}),
        (answered("ssn", "blocked", findings={"us_ssn": 1}, reasons=[{"rule": "found"}]), {}),
        (answered("plain", "blocked", reasons=[{"rule": "old"}]), {"answer_allowed": 1}),
        (answered("both", findings={"email": 1, "iban": 1}, redacted=REDACTED), {}),
        (answered("both", findings={"email": 1, "iban": 1}, redacted={"email": "mask"}), {"answer_redaction": 1}),
        (answered("both", findings={"email": 1, "iban": 1}), {"answer_redaction": 1}),
    ],
)
def test_answers_are_decided_at_their_head_at_findings_and_at_their_end(
    record: dict[str, object], kinds: dict[str, int]
) -> None:
    work = replay(DOCUMENTS)
    for index in range(2):
        work.take([(index, record)])
    report = work.report
    assert (report.calls, report.answers, report.answers_replayed, report.inputs) == (0, 2, 2, 1)
    assert dict(report.kinds) == {kind: 2 * count for kind, count in kinds.items()}
    assert report.changed == 2 * len(kinds)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (answered(""), "its input was not kept"),
        (answered("gone"), "its input is gone"),
        (answered(verdict="cut"), "the answer did not come to its end"),
        (answered(policy="other"), "the log does not say what its input shows"),
        (answered(policy="narrow"), "its input does not show input.answer.model"),
        (answered(policy="old"), "its input does not show input.answer.model"),
        (
            answered("plain", "blocked", reasons=[{"rule": "blocked_pattern:key"}]),
            "whether it is refused depends on the answer's text",
        ),
    ],
)
def test_answers_that_cannot_be_replayed_are_counted_by_the_reason(record: dict[str, object], reason: str) -> None:
    work = replay(DOCUMENTS)
    work.loaded({"kind": "policy.loaded", "revision": "narrow", "reads": None, "answer_reads": ["content"]})
    work.loaded({"kind": "policy.loaded", "revision": "old", "reads": None})
    work.take([(1, record)])
    assert (work.report.answers, work.report.answers_replayed, work.report.changed) == (1, 0, 0)
    assert dict(work.report.answers_left_out) == {reason: 1}


def test_what_never_was_an_answer_is_no_answer() -> None:
    work = replay(DOCUMENTS)
    work.take([(1, answered(status=0, verdict="failed"))])
    work.take([(2, answered(verdict="failed", final=False))])
    assert work.report.answers == 0


LOADED = {"kind": "policy.loaded", "revision": "r1"}
PASSED = (
    sent(), sent("g"), sent(""), sent("gone"), sent(attempt=2), sent(endpoint="us"), sent(findings={"email": 1}),
    refused(), refused("g"), refused("", count=3), {"kind": "alert.raised"}, sent(policy="r2"),
    answered(), answered("ssn"), answered("both", findings={"email": 1}), answered("gone"), answered(verdict="cut"),
    LOADED | {"reads": None, "answer_reads": None}, LOADED | {"reads": ["call"]}, LOADED | {"reads": ["tenant"]},
    LOADED | {"revision": "r2", "reads": ["tenant.id"], "answer_reads": ["content", "answer"]},
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PASSED), max_size=40), st.lists(st.integers(0, 40), max_size=6))
def test_records_taken_together_come_to_the_same_as_one_by_one(
    records: list[dict[str, object]], cuts: list[int]
) -> None:
    numbered = list(enumerate(records))
    single, together = replay(DOCUMENTS), replay(DOCUMENTS)
    for each in numbered:
        single.take([each])
    ends = sorted({0, *cuts, len(numbered)})
    for start, end in pairwise(ends):
        together.take(numbered[start:end])
    assert asdict(together.report) == asdict(single.report)


def test_what_records_need_is_told_before_it_is_read_and_only_once() -> None:
    told: list[set[str]] = []
    work = replay(DOCUMENTS)
    load, work._ahead = work._load, lambda digests: told.append(set(digests))

    def loading(tenant: str, digest: str) -> bytes | None:
        assert digest in told[-1]
        return load(tenant, digest)

    work._load = loading
    work.take([(1, sent()), (2, sent()), (3, refused("g")), (4, answered("ssn")), (5, sent("")), (6, PASSED[10])])
    work.take([(7, sent()), (8, answered("both"))])
    assert told == [{"a", "g", "ssn"}, {"both"}]
    assert work.report.inputs == 4


BESIDE = """
package cordon.request

default decision := {"allow": false, "reasons": [{"rule": "method", "detail": ""}]}

decision := {"allow": true, "redact": {"email": "drop"}} if input.call.method == "GET"
"""
BESIDE_ANSWERS = """
package cordon.response

default decision := {"allow": false, "reasons": [{"rule": "status", "detail": ""}]}

decision := {"allow": true} if input.answer.status == 200
"""
BOTH = {
    "get": ACME | {"call": {"method": "GET"}},
    "post": ACME | {"call": {"method": "POST"}},
    "other": OTHER | {"call": {"method": "GET"}},
    "ok": DOCUMENTS["plain"] | {"answer": {"model": "m", "status": 200}},
    "bad": DOCUMENTS["plain"] | {"answer": {"model": "m", "status": 500}},
}


def paired(*, own: bool = False) -> Replay:
    """The candidate, and the bundle `b1` that stays: a tenant's own one, or the common one where it is `own`."""
    reads = {SETTINGS.request_rule: READS, SETTINGS.response_rule: ANSWER_READS}
    candidate = EmbeddedEngine(make_bundle({"p.rego": CANDIDATE.encode(), "a.rego": ANSWERS.encode()}), SETTINGS, reads)
    files = {"p.rego": BESIDE.encode(), "a.rego": BESIDE_ANSWERS.encode()}
    stays = {SETTINGS.request_rule: frozenset({"call.method"}), SETTINGS.response_rule: frozenset({"answer.status"})}
    beside = EmbeddedEngine(make_bundle(files), SETTINGS, stays)
    work = Replay(engine=candidate, settings=SETTINGS, load=_load(BOTH), find={"b1": beside}.get, own=own)
    for revision, shown in (("r1", ["tenant.id"]), ("b1", ["call.method"])):
        answers = sorted(ANSWER_READS) if revision == "r1" else ["answer.status"]
        work.loaded({"kind": "policy.loaded", "revision": revision, "reads": shown, "answer_reads": answers})
    return work


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("record", "rules"),
    [
        (sent("get", findings={"email": 1}, redacted={"email": "drop"}), {}),
        (sent("get", findings={"email": 1}, redacted={"email": "mask"}), {("redaction", "email: mask → drop"): 1}),
        (sent("post"), {("refused", "{stays}method"): 1}),
        (sent("other"), {("refused", "{comes}tenant"): 1}),
        (refused("post"), {}),
        (refused("get"), {("allowed", "old"): 1}),
        (answered("ok"), {}),
        (answered("bad"), {("answer_refused", "{stays}status"): 1}),
        (answered("bad", "blocked", reasons=[{"rule": "status"}]), {}),
    ],
)
def test_a_call_that_two_bundles_decided_is_decided_anew_by_the_candidate_and_the_one_that_stays(
    record: dict[str, object], rules: dict[tuple[str, str], int], own: bool
) -> None:
    work = paired(own=own)
    decided = {"policy": "b1", "tenant_policy": "r1"} if own else {"policy": "r1", "tenant_policy": "b1"}
    work.take([(1, record | decided)])
    names = {"stays": "" if own else "tenant:", "comes": "tenant:" if own else ""}
    assert dict(work.report.by_rule) == {(kind, rule.format(**names)): count for (kind, rule), count in rules.items()}
    assert work.report.replayed + work.report.answers_replayed == 1


def test_a_tenant_s_first_own_bundle_is_tried_beside_the_common_one() -> None:
    work = paired(own=True)
    work.loaded({"kind": "policy.loaded", "revision": "b1", "reads": None, "answer_reads": None})
    work.take([(1, sent("get", policy="b1")), (2, sent("post", policy="b1")), (3, sent("get", policy="gone"))])
    gone = "the common bundle that decided it (gone) is neither configured nor rolled out any more"
    assert (work.report.replayed, dict(work.report.left_out)) == (2, {gone: 1})
    assert dict(work.report.by_rule) == {("refused", "method"): 1}


def test_an_input_of_two_bundles_shows_what_either_read_and_no_more() -> None:
    work = paired()
    work.loaded({"kind": "policy.loaded", "revision": "r1", "reads": ["call"], "answer_reads": []})
    work.take([(1, sent("get", tenant_policy="b1")), (2, sent("get", tenant_policy="b1", policy="never told"))])
    assert dict(work.report.left_out) == {
        "its input does not show input.tenant.id": 1, "the log does not say what its input shows": 1,
    }  # fmt: skip


def answers(module: str) -> Replay:
    """A candidate whose rule on answers is this one."""
    files = {"p.rego": CANDIDATE.encode(), "a.rego": f"package cordon.response\n\n{module}\n".encode()}
    reads = {SETTINGS.request_rule: READS, SETTINGS.response_rule: ANSWER_READS}
    work = Replay(EmbeddedEngine(make_bundle(files), SETTINGS, reads), SETTINGS, _load(DOCUMENTS))
    work.loaded({"kind": "policy.loaded", "revision": "r1", "reads": None, "answer_reads": None})
    return work


@pytest.mark.parametrize(
    "module",
    [
        'decision := {"allow": true, "output": {"max_chars": 9}} if input.phase == "answer_end"\n'
        'decision := {"allow": true} if input.phase != "answer_end"',
        'decision := {"allow": true, "redact": {"email": "mask"}} if input.phase == "answer_end"\n'
        'decision := {"allow": true} if input.phase != "answer_end"',
    ],
    ids=["plans-late", "redacts-late"],
)
def test_what_an_answer_s_decision_asks_for_too_late_is_a_refusal_as_in_the_gateway(module: str) -> None:
    work = answers(module)
    work.take([(1, answered("both", findings={"email": 1, "iban": 1}))])
    assert dict(work.report.by_rule) == {("answer_refused", "policy_failed"): 1}


def test_answers_that_depend_on_their_text_are_counted() -> None:
    work = answers('decision := {"allow": true, "output": {"max_chars": 9}}')
    work.take([(1, answered()), (2, answered("ssn"))])
    assert (work.report.answers_replayed, work.report.by_text, work.report.changed) == (2, 2, 0)
