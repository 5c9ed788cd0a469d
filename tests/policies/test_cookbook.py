"""The cookbook's recipes: each is admitted as it stands, and its tests pass here and under OPA."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from policies.admission import admit_now
from policies.authoring.examining import examine
from policies.authoring.running import run_tests
from tests.support.gateway import ROOT
from tests.support.policies import MINIMAL, SETTINGS, bundle, write
from tests.support.servers import require_binary

PAGE = (ROOT / "docs/cookbook.md").read_text()


def recipes() -> dict[str, dict[str, str]]:
    """The files of each recipe, by its title."""
    found: dict[str, dict[str, str]] = {}
    for section in PAGE.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        texts = re.findall(r"^```rego\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
        names = [re.match(r"package (?:cordon\.)?(\w+)", text) for text in texts]
        found[title] = MINIMAL | {f"{name[1]}.rego": text for name, text in zip(names, texts, strict=True) if name}
    return found


def test_there_are_a_dozen_and_each_has_rules_and_tests() -> None:
    assert len(recipes()) >= 12
    for title, files in recipes().items():
        assert set(files) == {"request.rego", "response.rego", "recipe_test.rego"}, title
        assert files["recipe_test.rego"].count("\ntest_") >= 1, title


@pytest.mark.parametrize("title", recipes())
def test_a_recipe_is_admitted_and_its_tests_pass_here_and_under_opa(title: str, tmp_path: Path) -> None:
    made = bundle(recipes()[title])
    admission = admit_now(made, SETTINGS)
    assert admission.bundle is not None, admission.errors
    problems = examine(made, admission, SETTINGS)
    assert [str(problem) for problem in problems if problem.severity == "error"] == []
    results = run_tests(made, jobs=1).results
    assert [(each.name, each.detail) for each in results if each.outcome != "passed"] == []
    folder = write(tmp_path / "recipe", recipes()[title])
    opa = subprocess.run(
        [require_binary("opa"), "test", "--fail-on-empty", str(folder)], capture_output=True, text=True, check=False
    )
    assert opa.returncode == 0, opa.stdout + opa.stderr
