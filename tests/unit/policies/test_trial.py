"""Trying out a bundle that nobody trusts: what comes of it, and that nothing of it outlasts its process."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from policies import trial
from policies.engine import Moment
from policies.errors import BundleError, PolicyError
from policies.settings import Policy
from policies.trial import MOST_FILES, try_out
from tests.support.policies import MINIMAL

RULE = """package cordon.request

default decision := {"allow": false}

decision := {"allow": true} if input.principal.tenant == "acme"
"""
TEST = """package a_test

test_acme if data.cordon.request.decision.allow with input.principal.tenant as "acme"

test_wrong if data.cordon.request.decision.allow
"""


def tried(files: dict[str, str], document: object = None, **options: Any) -> dict[str, Any]:
    return try_out(MINIMAL | files, document, Moment.REQUEST, Policy(), **options)


def test_a_decision_comes_with_its_explanation_and_the_tests_with_what_they_miss() -> None:
    answer = tried({"request.rego": RULE, "a_test.rego": TEST}, {"principal": {"tenant": "globex"}}, tests=True)
    assert answer["admitted"]
    decision = answer["decision"]
    assert (decision["allow"], json.loads(decision["result"])) == (False, {"allow": False})
    assert [each["rule"] for each in decision["fired"]] == ["data.cordon.request.decision"]
    assert decision["changes"][0][0]["text"] == 'set "acme" at input.principal.tenant'
    assert [(each["name"].rpartition(".")[2], each["outcome"]) for each in answer["tests"]] == [
        ("test_acme", "passed"), ("test_wrong", "failed"),
    ]  # fmt: skip
    assert answer["coverage"]["response.rego"] == [3]


def test_what_is_wrong_is_said_with_its_place() -> None:
    answer = tried({"request.rego": "package cordon.request\n\ndecision := {"}, {})
    assert not answer["admitted"] and "decision" not in answer
    assert {each["file"] for each in answer["problems"]} == {"request.rego"}
    answer = tried({"request.rego": RULE.replace("tenant ==", "tennant ==")}, {})
    assert answer["admitted"]
    assert [each["code"] for each in answer["problems"] if each["severity"] == "error"] == ["unknown_input"]
    assert tried({"data.json": "{"})["problems"][0]["file"] == "data.json"
    assert "http.send" in str(tried({"request.rego": RULE + "\nx := http.send({})\n"})["problems"])


@pytest.mark.parametrize("name", ["../x.rego", "/x.rego", "a//x.rego", "x.sh", ".x.rego", "a/.hidden/x.rego", "ü.rego"])
def test_a_name_that_is_none_of_a_bundle_s_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match="no name of a bundle"):
        tried({name: "package x\n"})


def test_too_many_files_are_refused() -> None:
    with pytest.raises(BundleError, match="more than"):
        tried({f"f{number}.rego": "package x\n" for number in range(MOST_FILES)})


def test_what_takes_for_ever_is_ended_and_what_it_started_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 1.0)
    slow = (
        "package a_test\n\nmany := numbers.range(1, 90000)\n\n"
        "test_slow if count([1 | some a in many; some b in many]) > 0\n"
    )
    began = time.monotonic()
    with pytest.raises(PolicyError, match="took longer"):
        tried({"a_test.rego": slow}, {}, tests=True)
    assert time.monotonic() - began < 10
    assert not _left(), "the process that ran the test is gone, too"


def test_brackets_that_would_be_read_for_ever_are_a_problem_in_tests_too() -> None:
    nested = "package a_test\n\nx := " + "[" * 40 + "]" * 40 + "\n"
    answer = tried({"a_test.rego": nested}, {}, tests=True)
    assert [(each["file"], each["code"]) for each in answer["problems"]] == [("a_test.rego", "nesting")]


def _left() -> list[str]:
    """Processes of test runs that this one has started, or that lost who started them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if (
                b"policies.authoring.worker" in command
                and str(Path.cwd()).encode() in (process / "environ").read_bytes()
            ):
                found += [process.name] if parent in (1, os.getpid()) else []
    return found
