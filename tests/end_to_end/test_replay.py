"""`cordon policy replay` and `explain`: calls of a real Cordon, decided anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests.support.cli import Installation
from tests.support.gateway import ROOT, Cordon, cordon
from tests.support.users import ANOTHER, as_user


class Past(NamedTuple):
    """A Cordon that served one call and refused another; their indexes in its log."""

    running: Cordon
    served: int
    refused: int


@pytest.fixture(scope="module")
def past() -> Iterator[Past]:
    with cordon() as running:
        key = {"authorization": f"Bearer {running.key('ci-bot', 'acme', 'analyst')}"}
        served = httpx.get(f"{running.url}/crm/customers/1001", headers=key)
        refused = httpx.get(f"{running.url}/payments/x", headers=key)
        assert (served.status_code, refused.status_code) == (200, 403)
        indexes = [running.of_call(answer.headers["x-cordon-call"], 1)[0]["index"] for answer in (served, refused)]
        yield Past(running, *indexes)


def candidate(tmp_path: Path, routes: dict[str, Any] | None = None, module: str = "") -> str:
    """The starter bundle with other grants for acme, and perhaps a module more."""
    folder = tmp_path / "candidate"
    shutil.copytree(ROOT / "policies/bundles/starter", folder)
    if routes is not None:
        data = json.loads((folder / "data.json").read_text())
        data["tenants"]["acme"]["routes"] = routes
        data["routes"]["payments"]["roles"] = ["analyst"]
        (folder / "data.json").write_text(json.dumps(data))
    if module:
        (folder / "more.rego").write_text(module)
    return str(folder)


def beside(past: Past, tmp_path: Path) -> Installation:
    """Commands that work on the same data."""
    text = past.running.file.read_text()
    return Installation(tmp_path, text.replace("data_dir: var", f"data_dir: {past.running.data_dir}"))


def test_a_bundle_that_says_the_same_changes_nothing(past: Past, tmp_path: Path) -> None:
    found = past.running.cli("policy", "replay", candidate(tmp_path), "--check")
    assert (found["calls"], found["replayed"], found["changed"]) == (2, 2, 0)
    assert (found["answers"], found["answers_replayed"], found["answers_not_replayed"]) == (1, 1, {})


def test_a_changed_grant_shows_the_calls_that_it_changes(past: Past, tmp_path: Path) -> None:
    folder = candidate(tmp_path, {"payments": {}})
    found = past.running.cli("policy", "replay", folder)["differences"]
    assert {kind: [example["index"] for example in found[kind]["examples"]] for kind in found} == {
        "refused": [past.served], "allowed": [past.refused], "redaction": [], "endpoint": [],
        "answer_refused": [], "answer_allowed": [], "answer_redaction": [],
    }  # fmt: skip
    for kind, route, rule in (("refused", "crm", "grants.route"), ("allowed", "payments", "roles.missing")):
        assert (found[kind]["by_tenant"], found[kind]["by_route"]) == ({"acme": 1}, {route: 1})
        assert list(found[kind]["by_rule"]) == [rule]
    past.running.cli_at_fault("policy", "replay", folder, "--check")
    only = past.running.cli("policy", "replay", folder, "--route", "payments")
    assert (only["calls"], only["changed"]) == (1, 1)


def test_a_candidate_that_refuses_answers_shows_which(past: Past, tmp_path: Path) -> None:
    module = """package cordon.response

decision := {"allow": false, "reasons": [{"rule": "status", "detail": "no"}]} if input.answer.status == 200
"""
    folder = candidate(tmp_path)
    (Path(folder) / "response.rego").write_text(module)
    found = past.running.cli("policy", "replay", folder)
    assert (found["answers_replayed"], found["changed"]) == (1, 1)
    assert found["differences"]["answer_refused"]["by_rule"] == {"status": 1}


def test_a_candidate_that_reads_more_than_was_shown_is_not_guessed_at(past: Past, tmp_path: Path) -> None:
    module = "package cordon.request\n\ngranted(grant) if {\n\tinput.parsed_query.debug\n\tgrant\n}\n"
    found = past.running.cli("policy", "replay", candidate(tmp_path, module=module))
    assert (found["calls"], found["replayed"]) == (2, 0)
    assert found["not_replayed"] == {"its input does not show input.parsed_query.debug": 2}


def test_people_read_what_would_change(past: Past, tmp_path: Path) -> None:
    installation = beside(past, tmp_path)
    result = installation("policy", "replay", candidate(tmp_path, {"payments": {}}))

    assert result.code == 0
    assert "1 newly refused" in result.out
    assert f"{past.served}" in result.out


def test_a_recorded_refusal_is_explained_with_what_would_have_allowed_it(past: Past) -> None:
    told = past.running.cli_at_fault("policy", "explain", "--index", str(past.refused))
    assert told["reasons"][0]["rule"] == "roles.missing"
    assert 'add "payments" to input.principal.roles' in [steps[0]["text"] for steps in told["changes"]]
    allowed = past.running.cli("policy", "explain", "--index", str(past.served))
    assert (allowed["allow"], allowed["changes"]) == (True, [])


def test_a_record_without_an_input_cannot_be_explained(past: Past, tmp_path: Path) -> None:
    installation = beside(past, tmp_path)
    for index, why in ((0, "names no input"), (100_000, "the log has no record")):
        result = installation("policy", "explain", "--index", str(index))
        assert result.code == 1
        assert why in result.err


def test_calls_that_two_bundles_decided_are_decided_anew_by_both(tmp_path: Path) -> None:
    """A tenant has a bundle of its own beside the common one; a candidate takes the place of either."""
    with cordon() as running:
        own = tmp_path / "own"
        shutil.copytree(candidate(tmp_path / "first", module="package cordon.request\n\nmark := 1\n"), own)
        rollout = running.cli("policy", "propose", str(own), "--tenant", "acme")["rollout"]
        with as_user(ANOTHER):
            running.cli("policy", "approve", rollout)
            running.cli("policy", "stage", rollout, "live")
        for tenant in ("acme", "globex"):
            key = {"authorization": f"Bearer {running.key('bot', tenant, 'analyst')}"}
            assert httpx.get(f"{running.url}/crm/customers/1001", headers=key).status_code == 200
        both, common = running.records(0, "call.intent")
        assert (both["tenant"], "tenant_policy" in both) == ("acme", True)
        assert (common["tenant"], "tenant_policy" in common) == ("globex", False)

        same, other = candidate(tmp_path / "same"), candidate(tmp_path / "other", {"payments": {}})
        for options, calls, rule in (
            ([], 2, "grants.route"),
            (["--own", "--tenant", "acme"], 1, "tenant:grants.route"),
        ):
            found = running.cli("policy", "replay", same, *options, "--check")
            assert (found["calls"], found["replayed"], found["changed"]) == (calls, calls, 0)
            assert found["not_replayed"] == found["answers_not_replayed"] == {}
            found = running.cli("policy", "replay", other, *options)
            refused = found["differences"]["refused"]
            assert (found["changed"], refused["by_rule"]) == (1, {rule: 1})
            assert [example["index"] for example in refused["examples"]] == [both["index"]]
