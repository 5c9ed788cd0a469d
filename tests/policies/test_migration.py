"""The page for those who come from opa-envoy-plugin: its bundles decide as it says, here and under OPA."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.admission import admit_now
from policies.authoring.examining import examine
from policies.embedded import EmbeddedEngine
from policies.settings import Policy
from tests.support.gateway import ROOT
from tests.support.policies import SETTINGS, ask, ask_answer, bundle, write
from tests.support.servers import require_binary

PAGE = (ROOT / "docs/migrate-opa-envoy.md").read_text()
OLD, REQUEST, RESPONSE = re.findall(r"^```rego\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
CONFIGURED = Policy(**yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0])["policy"])


def call(method: str, path: list[str], body: Any = None, roles: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "attributes": {"request": {"http": {"method": method}}},
        "call": {"method": method},
        "parsed_path": path,
        "parsed_body": body,
        "principal": {"roles": list(roles)},
    }


CASES = [
    (call("GET", ["people", "7"]), True, True),
    (call("GET", ["accounts"]), False, False),
    (call("POST", ["people"], {"age": 18}, ("member",)), True, True),
    (call("POST", ["people"], {"age": 18}), True, False),
    (call("POST", ["people"], {"age": 17}, ("member",)), False, False),
    (call("DELETE", ["people", "7"], None, ("member",)), False, False),
]


def engine(files: dict[str, str], settings: Policy) -> EmbeddedEngine:
    made = bundle(files)
    admission = admit_now(made, settings)
    assert admission.bundle is not None, admission.errors
    assert not [problem for problem in examine(made, admission, settings) if problem.severity == "error"]
    return EmbeddedEngine(admission.bundle, settings, admission.reads, admission.uncached)


def test_the_bundle_as_it_is_decides_as_the_page_says() -> None:
    old = engine({"authz.rego": OLD}, CONFIGURED)
    for document, allowed, _ in CASES:
        decision = ask(old, document)
        assert decision.allow is allowed, document
        assert allowed or decision.reasons[0].detail == "Only members may do that."


def test_the_bundle_that_goes_on_knows_the_caller_and_the_content() -> None:
    new = engine({"request.rego": REQUEST, "response.rego": RESPONSE}, SETTINGS)
    for document, _, allowed in CASES:
        decision = ask(new, document)
        assert decision.allow is allowed, document
        assert dict(decision.redact) == ({"us_ssn": "mask"} if allowed else {})
    assert dict(ask_answer(new, {"phase": "answer_head"}).redact) == {"us_ssn": "mask"}


@pytest.mark.parametrize(
    ("text", "query", "at"),
    [(OLD, "data.envoy.authz.allow.allowed", 1), (REQUEST, "data.cordon.request.decision.allow", 2)],
)
def test_opa_says_the_same(text: str, query: str, at: int, tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle", {"policy.rego": text})
    cases = json.dumps([case[0] for case in CASES])
    every = f"[x | some case in input; x := {query} with input as case]"
    command = [str(require_binary("opa")), "eval", "-I", "-d", str(folder), "-f", "json", every]
    done = subprocess.run(command, input=cases, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["result"][0]["expressions"][0]["value"] == [case[at] for case in CASES]
