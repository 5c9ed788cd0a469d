"""The commands for policy authors: check, test and bench, by what they print, write and return."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from cordon.config import load
from policies.bundle import load_bundle
from tests.support.cli import ROOT, Installation
from tests.support.gateway import free_ports
from tests.support.opa import OpaServer, opa_server, push
from tests.support.policies import MINIMAL, write

TESTED = MINIMAL | {
    "a_test.rego": "package a_test\n\ntest_one if data.cordon.request.decision.allow\n\n"
    "test_two if data.cordon.response.decision.allow\n"
}
TYPO = 'package cordon.request\n\ndecision := {"allow": input.principle.tenant == "acme"}\n'


@pytest.fixture
def cordon(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


CLOCK = 'package cordon.request\n\ndecision := {"allow": true} if time.now_ns() > 1\n'


@pytest.fixture
def bundle(cordon: Installation) -> Path:
    return write(cordon.directory / "bundle", TESTED)


# check


def test_a_bundle_in_order_passes_strictly(cordon: Installation, bundle: Path) -> None:
    result = cordon("policy", "check", str(bundle), "--strict")
    assert (result.code, result.out.splitlines()[0].split(" as ")[0]) == (0, f"{bundle} is admitted")


def test_a_typo_in_the_input_fails_with_its_place_and_what_was_meant(cordon: Installation, bundle: Path) -> None:
    (bundle / "request.rego").write_text(TYPO)
    result = cordon("policy", "check", str(bundle))
    assert result.code == 1
    assert "request.rego:3:29: there is no input.principle in the documented input" in result.out
    assert "did you mean input.principal? [unknown_input]" in result.out
    assert result.out.splitlines()[-1] == "1 error"
    value = cordon("policy", "check", str(bundle), "--json").json
    assert (value["admitted"], value["failed"]) == (True, True)
    assert [(each["code"], each["severity"], each["line"], each["column"]) for each in value["problems"]] == [
        ("unknown_input", "error", 3, 29)
    ]


def test_warnings_fail_only_strictly_and_notes_never(cordon: Installation, bundle: Path) -> None:
    (bundle / "request.rego").write_text(MINIMAL["request.rego"] + "\nspare := 1\n")
    assert cordon("policy", "check", str(bundle)).code == 0
    strict = cordon("policy", "check", str(bundle), "--strict")
    assert strict.code == 1
    assert "warning: request.rego:5:1: data.cordon.request.spare is reached by no decision" in strict.out
    write(bundle, MINIMAL)
    (bundle / "a_test.rego").unlink()
    noted = cordon("policy", "check", str(bundle), "--strict")
    assert noted.code == 0
    assert "note: .: the bundle has no tests" in noted.out


def test_what_is_not_remembered_is_told_for_each_entry_point_with_its_place(cordon: Installation, bundle: Path) -> None:
    (bundle / "request.rego").write_text(CLOCK)
    out = cordon("policy", "check", str(bundle)).out
    assert "data.cordon.request.decision" in out
    assert "not remembered: request.rego:3:32: time.now_ns gives another result at another time [changing]" in out
    value = cordon("policy", "check", str(bundle), "--json").json["remembered"]
    assert value["data.cordon.response.decision"] is None
    why = value["data.cordon.request.decision"]
    assert (why["code"], why["file"], why["line"]) == ("changing", "request.rego", 3)


@pytest.mark.parametrize("command", ["check", "test", "eval"])
def test_where_an_opa_server_decides_commands_say_that_they_do_not_ask_it(
    cordon: Installation, bundle: Path, command: str
) -> None:
    (cordon.directory / "input.json").write_text("{}")
    more = ("-i", str(cordon.directory / "input.json")) if command == "eval" else ()
    assert "OPA server" not in cordon("policy", command, str(bundle), *more).err
    text = cordon.file.read_text()
    assert "policy: {" in text
    cordon.file.write_text(text.replace("policy: {", "policy: {engine: opa, url: 'http://127.0.0.1:9', "))
    assert "calls are decided by the OPA server" in cordon("policy", command, str(bundle), *more).err
    result = cordon("policy", command, str(bundle), *more, "--json")
    assert result.json["engine"] == "embedded"
    assert not result.err


HTTP = 'package cordon.request\n\ndecision := {"allow": true} if http.send({"url": input.url}).status_code == 200\n'


@pytest.fixture(scope="module")
def opa() -> Iterator[OpaServer]:
    with opa_server() as running:
        yield running


def with_opa(cordon: Installation, url: str) -> None:
    cordon.file.write_text(cordon.file.read_text().replace("policy: {", f"policy: {{engine: opa, url: '{url}', ", 1))


@pytest.mark.parametrize("command", ["check", "eval"])
def test_a_bundle_that_opa_alone_can_evaluate_is_told_in_one_sentence_with_what_to_do(
    cordon: Installation, bundle: Path, command: str
) -> None:
    with_opa(cordon, "http://127.0.0.1:9")
    (bundle / "request.rego").write_text(HTTP)
    (cordon.directory / "input.json").write_text("{}")
    more = ("-i", str(cordon.directory / "input.json")) if command == "eval" else ()
    result = cordon("policy", command, str(bundle), *more)
    assert result.code == 1
    said = " ".join((result.out + result.err).split())
    assert said.count("only the OPA server can evaluate this bundle: ") == 1
    assert "cordon policy eval --engine opa" in said and "request.rego:3:" in said
    assert ("set policy.engine: opa" in said) == (command == "check"), "it lists each place with its own remedy"


def test_tests_of_what_opa_alone_can_evaluate_are_errors_and_opa_test_is_named(
    cordon: Installation, bundle: Path
) -> None:
    (bundle / "request.rego").write_text(HTTP)
    assert "`opa test`" not in cordon("policy", "test", str(bundle)).out
    with_opa(cordon, "http://127.0.0.1:9")
    result = cordon("policy", "test", str(bundle))
    assert result.code == 1
    assert "1 passed, 1 failed" in result.out, "what does not need it is tested all the same"
    assert "what only the OPA server can evaluate, `opa test` tests" in result.out


def test_the_server_s_own_word_is_had_by_eval(cordon: Installation, opa: OpaServer) -> None:
    folder = write(cordon.directory / "bundle", MINIMAL | {"request.rego": HTTP})
    with_opa(cordon, opa.url)
    cordon.file.write_text(re.sub(r"bundle: [^}]*", "bundle: bundle", cordon.file.read_text()))
    document = cordon.directory / "input.json"
    document.write_text(f'{{"url": "{opa.url}/health", "method": "get"}}')
    ask = ("policy", "eval", "--engine", "opa", "-i", str(document))
    empty = cordon(*ask)
    assert empty.code == 1 and "holds no bundle of Cordon's" in empty.err

    (folder / "request.rego").write_text(HTTP.replace('{"url"', '{"method": "get", "url"'))
    settings = load(cordon.file).policy
    asyncio.run(push(settings))
    value = cordon(*ask, "--json").json
    assert (value["engine"], value["decision"]["allow"]) == ("opa", True)
    assert value["revision"] == load_bundle(folder).revision
    document.write_text(f'{{"url": "{opa.url}/nowhere"}}')
    denied = cordon(*ask)
    assert denied.code == 1 and "deny" in denied.out and "undefined" in denied.out
    answer = cordon(*ask, "--moment", "answer_end", "--json").json
    assert answer["rule"] == "data.cordon.response.decision" and answer["decision"]["allow"]


def test_eval_says_where_there_is_no_server_to_ask(cordon: Installation, bundle: Path) -> None:
    document = cordon.directory / "input.json"
    document.write_text("{}")
    ask = ("policy", "eval", "--engine", "opa", "-i", str(document))
    assert cordon(*ask).code == 2
    with_opa(cordon, f"http://127.0.0.1:{free_ports(1)[0]}")
    assert cordon(*ask, str(bundle)).code == 2
    away = cordon(*ask)
    assert away.code == 1 and away.err.startswith("error: ") and "OPA server" in away.err


# test


def test_failures_are_told_with_what_was_compared(cordon: Installation, bundle: Path) -> None:
    (bundle / "b_test.rego").write_text(
        'package b_test\n\ntest_three if {\n\tx := data.cordon.request.decision\n\tx.allow == "yes"\n}\n'
    )
    result = cordon("policy", "test", str(bundle))
    assert result.code == 1
    assert 'b_test.rego:5: data.b_test.test_three: `x.allow == "yes"` fails: x.allow is true' in result.out
    assert "test_one" not in result.out
    verbose = cordon("policy", "test", str(bundle), "-v", "-k", "one")
    assert verbose.code == 0
    assert "passed  a_test.rego:3: data.a_test.test_one" in verbose.out


def test_a_build_server_gets_its_report(cordon: Installation, bundle: Path) -> None:
    report = cordon.directory / "report.xml"
    assert cordon("policy", "test", str(bundle), "--junit", str(report), "--jobs", "2").code == 0
    assert Xml.parse(report).getroot().get("tests") == "2"
    value = cordon("policy", "test", str(bundle), "--json").json
    assert (value["passed"], value["failed"], value["skipped"], value["ok"]) == (2, 0, 0, True)


def test_the_threshold_decides_on_the_share_of_lines(cordon: Installation, bundle: Path) -> None:
    assert cordon("policy", "test", str(bundle), "--threshold", "100").code == 0
    short = cordon("policy", "test", str(bundle), "--threshold", "51", "-k", "one")
    assert short.code == 1
    assert "coverage: 50 % of lines, 50 % of rules; 51 % of lines are asked for" in short.out
    assert "response.rego: 0 %, not evaluated: line 3" in short.out
    assert cordon("policy", "test", str(bundle), "--threshold", "50", "-k", "one").code == 0
    value = cordon("policy", "test", str(bundle), "--coverage", "--json").json["coverage"]
    assert (value["line_percent"], value["rule_percent"], value["uncovered"]) == (100.0, 100.0, [])
    assert value["files"][0] == {"file": "request.rego", "lines": 1, "covered": 1, "missed": [], "percent": 100.0}


def test_what_cannot_move_the_cursor_is_printed(cordon: Installation, bundle: Path) -> None:
    (bundle / "b_test.rego").write_text(
        'package b_test\n\ntest_x["\\u001b[2J"] if true\n\ntest_y if "\\u001b[2J" == 1\n'
    )
    result = cordon("policy", "test", str(bundle))
    assert result.code == 1
    assert "\x1b[2J" not in result.out


def test_no_tests_is_a_failure(cordon: Installation, bundle: Path) -> None:
    result = cordon("policy", "test", str(bundle), "-k", "nothing")
    assert (result.code, "there are no tests with nothing in their name" in result.out) == (1, True)


def test_watching_runs_again_on_a_change_and_ends_with_ctrl_c(bundle: Path) -> None:
    command = [sys.executable, "-m", "cordon.cli", "policy", "test", str(bundle), "--watch", "--json"]
    process = subprocess.Popen(
        command, cwd=bundle.parent, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        assert _next(process)["passed"] == 2
        (bundle / "request.rego").write_text(MINIMAL["request.rego"].replace("true", "false"))
        assert _next(process)["failed"] == 1
        (bundle / "request.rego").write_text("package cordon.request\n\ndecision := {\n")
        assert _next(process)["problems"][0]["file"] == "request.rego"
        (bundle / "request.rego").write_text(MINIMAL["request.rego"])
        assert _next(process)["passed"] == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def _next(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout
    assert select.select([process.stdout], [], [], 60)[0], "nothing was printed"
    return json.loads(process.stdout.readline())


# bench


def test_costs_are_listed_slowest_first(cordon: Installation, bundle: Path) -> None:
    result = cordon("policy", "bench", str(bundle), "--rounds", "10")
    assert result.code == 0
    assert result.out.split()[0] == "DECISION"
    assert "RULE ALONE" in result.out
    value = cordon("policy", "bench", str(bundle), "--rounds", "10", "--json").json
    times = [each["p50"] for each in value["decisions"]]
    assert times == sorted(times, reverse=True)
    assert {each["rule"] for each in value["rules"]} == {
        "data.cordon.request.decision",
        "data.cordon.response.decision",
    }


def test_costs_are_measured_on_given_inputs(cordon: Installation, bundle: Path) -> None:
    inputs = cordon.directory / "inputs"
    inputs.mkdir()
    (inputs / "a.json").write_text('{"phase": "request"}')
    value = cordon("policy", "bench", str(bundle), "-i", str(inputs), "-n", "10", "--json").json
    assert [(each["rule"], each["input"]) for each in value["decisions"]] == [
        ("data.cordon.request.decision", "a.json")
    ]
    (inputs / "a.json").write_text("{")
    broken = cordon("policy", "bench", str(bundle), "-i", str(inputs))
    assert (broken.code, "a.json is not JSON" in broken.err) == (1, True)


def test_a_refused_bundle_is_not_measured(cordon: Installation, bundle: Path) -> None:
    (bundle / "request.rego").write_text("package cordon.request\n\ndecision := http.send({})\n")
    result = cordon("policy", "bench", str(bundle))
    assert (result.code, "request.rego:3" in result.err) == (1, True)
