"""The starter bundle: its own tests, and that the embedded engine says of it what OPA says."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policies.admission import Admission, admit_now
from policies.authoring.running import run_tests
from policies.bundle import load_bundle
from policies.embedded import EmbeddedEngine
from policies.errors import PolicyError
from policies.result import read_answer, read_request
from tests.support.policies import (
    REQUEST_RULE,
    RESPONSE_RULE,
    SETTINGS,
    STARTER,
    answer_document,
    ask,
    damaged,
    opa_results,
    request_document,
)
from tests.support.servers import require_binary

DOCUMENTS = 1_000
FAILED = "the engine says that it failed, which denies"
Make = Callable[[random.Random], dict[str, Any]]
KINDS = [(REQUEST_RULE, request_document), (RESPONSE_RULE, answer_document)]


@pytest.fixture(scope="module")
def admission() -> Admission:
    return admit_now(load_bundle(STARTER), SETTINGS)


def engine_of(admission: Admission) -> EmbeddedEngine:
    assert admission.bundle is not None
    return EmbeddedEngine(admission.bundle, SETTINGS, admission.reads, admission.uncached)


def test_its_tests_pass_in_the_embedded_engine() -> None:
    results = run_tests(load_bundle(STARTER)).results
    assert len(results) > 30
    assert [result for result in results if result.outcome != "passed"] == []


def test_its_tests_pass_in_opa() -> None:
    run = subprocess.run([str(require_binary("opa")), "test", "--format=json", str(STARTER)], capture_output=True)
    results = json.loads(run.stdout)
    assert run.returncode == 0
    assert len(results) == len(run_tests(load_bundle(STARTER)).results)


def test_opa_checks_it_strictly() -> None:
    run = subprocess.run([str(require_binary("opa")), "check", "--strict", str(STARTER)], capture_output=True)
    assert run.returncode == 0, run.stderr


def test_it_is_admitted_without_a_remark(admission: Admission) -> None:
    assert admission.problems == ()
    assert admission.uncached == {}


def test_a_decision_on_it_costs_little(admission: Admission) -> None:
    assert max(admission.costs.values()) < 5


@pytest.mark.parametrize(("rule", "make"), KINDS)
def test_opa_agrees(admission: Admission, tmp_path: Path, rule: str, make: Make) -> None:
    dice = random.Random(f"documents for {rule}")
    documents = [{}, *(make(dice) for _ in range(DOCUMENTS))]
    engine = engine_of(admission)
    allowed = 0
    for document, opa in zip(documents, opa_results(STARTER, rule, documents, tmp_path), strict=True):
        assert _evaluated(engine, rule, document) == opa, document
        allowed += opa["allow"] is True
    assert DOCUMENTS * 0.05 < allowed < DOCUMENTS * 0.95


@pytest.mark.parametrize(("rule", "make"), KINDS)
def test_on_damaged_documents_opa_agrees_or_nothing_passes(
    admission: Admission, tmp_path: Path, rule: str, make: Make
) -> None:
    dice = random.Random(f"damaged documents for {rule}")
    documents = [damaged(dice, make(dice)) for _ in range(DOCUMENTS)]
    engine = engine_of(admission)
    errors = 0
    for document, opa in zip(documents, opa_results(STARTER, rule, documents, tmp_path), strict=True):
        ours = _evaluated(engine, rule, document)
        errors += ours == FAILED
        assert ours in (opa, FAILED), document
    assert errors < DOCUMENTS * 0.1


def _evaluated(engine: EmbeddedEngine, rule: str, document: object) -> Any:
    try:
        return json.loads(engine.evaluate(rule, json.dumps(document).encode()))
    except PolicyError:
        return FAILED


@pytest.mark.parametrize(("rule", "make"), KINDS)
def test_its_results_keep_the_contract(admission: Admission, rule: str, make: Make) -> None:
    dice = random.Random(f"results of {rule}")
    engine = engine_of(admission)
    read = read_request if rule == REQUEST_RULE else read_answer
    for _ in range(DOCUMENTS):
        document = make(dice)
        decision = read(engine.evaluate(rule, json.dumps(document).encode()))
        assert all(reason.rule != "policy.result" for reason in decision.reasons), document


def test_what_it_does_not_read_may_be_left_out(admission: Admission) -> None:
    dice = random.Random("documents to cut down")
    engine = engine_of(admission)
    reads = engine.request_reads
    assert reads is not None
    for _ in range(300):
        document = request_document(dice)
        assert ask(engine, _only(document, reads)) == ask(engine, document)


def _only(document: dict[str, Any], reads: frozenset[str]) -> dict[str, Any]:
    """As `gateway.document` leaves out what is not read."""
    left: dict[str, Any] = {}
    for name, value in document.items():
        keys = {entry.partition(".")[2] for entry in reads if entry.partition(".")[0] == name}
        if keys and ("" in keys or not isinstance(value, dict)):
            left[name] = value
        elif keys:
            left[name] = {key: value[key] for key in value if key in keys}
    return left


def test_nobody_is_allowed_by_default(admission: Admission) -> None:
    engine = engine_of(admission)
    assert not ask(engine, {}).allow
    assert not read_answer(engine.evaluate(RESPONSE_RULE, b"{}")).allow
