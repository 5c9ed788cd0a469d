"""Trying out a bundle on one document, as an author does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policies.bundle import load_bundle
from policies.engine import Moment
from policies.errors import BundleError, PolicyError
from policies.settings import Policy
from policies.testing import evaluate
from tests.support.policies import SETTINGS, write


def test_an_evaluation_shows_what_was_asked_and_said(tmp_path: Path) -> None:
    write(tmp_path)
    found = evaluate(load_bundle(tmp_path), b"{}", Moment.REQUEST, SETTINGS)
    assert found.decision.allow
    assert json.loads(found.result) == {"allow": True}
    assert found.rule == "data.cordon.request.decision"
    assert len(found.revision) == 16
    assert found.milliseconds > 0
    assert evaluate(load_bundle(tmp_path), b"{}", Moment.FINDING, SETTINGS).rule == "data.cordon.response.decision"


def test_an_evaluation_of_a_bad_bundle_or_document_is_an_error(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(PolicyError):
        evaluate(load_bundle(tmp_path), b"{", Moment.REQUEST, SETTINGS)
    write(tmp_path, {"request.rego": "package cordon.request\n\ndecision := http.send({})\n"})
    with pytest.raises(BundleError, match=r"request\.rego:3"):
        evaluate(load_bundle(tmp_path), b"{}", Moment.REQUEST, SETTINGS)


def test_an_evaluation_reads_results_for_envoy(tmp_path: Path) -> None:
    write(tmp_path, {"authz.rego": "package envoy.authz\n\nallow := true\n"})
    policy = Policy(request_rule="data.envoy.authz.allow", result_style="opa-envoy", unsafe_pass_answers=True)
    assert evaluate(load_bundle(tmp_path), b"{}", Moment.REQUEST, policy).decision.allow
