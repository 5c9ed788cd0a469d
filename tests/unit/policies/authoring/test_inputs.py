"""References to the input: typos are found however they are written, and what may be right is let be."""

from __future__ import annotations

import time

import pytest

from policies.admission import admit_now
from policies.authoring import examining
from policies.authoring.examining import examine
from policies.authoring.inputs import Inputs
from policies.authoring.layout import document
from policies.errors import Problem
from policies.schemas import load
from policies.settings import Policy
from tests.support.policies import MINIMAL, SETTINGS, bundle

HEAD = "package cordon.request\n\n"
ENVOY = Policy(request_rule="data.envoy.authz.allow", result_style="opa-envoy", unsafe_pass_answers=True)


def inputs_of(files: dict[str, str], settings: Policy = SETTINGS) -> list[Problem]:
    read = bundle(files)
    admission = admit_now(read, settings)
    assert admission.errors == ()
    return [problem for problem in examine(read, admission, settings) if problem.code == "unknown_input"]


def of(text: str, **more: str) -> list[Problem]:
    return inputs_of(MINIMAL | {"request.rego": HEAD + text} | {f"{name}.rego": each for name, each in more.items()})


CERTAIN = {
    "plain": ('decision := {"allow": input.principle.tenant == "a"}', "principle", "input.principal?"),
    "bracket": ('decision := {"allow": input["principle"].tenant == "a"}', "principle", "input.principal?"),
    "below": ('decision := {"allow": input.principal.tenent == "a"}', "tenent", "input.principal.tenant?"),
    "alias": (
        'decision := {"allow": true} if {\n\tp := input.principal\n\tp.tenent == "a"\n}',
        "tenent",
        "input.principal.tenant?",
    ),
    "equation": (
        'decision := {"allow": true} if {\n\tp = input.principal\n\tp.tenent == "a"\n}',
        "tenent",
        "input.principal.tenant?",
    ),
    "some": (
        'decision := {"allow": true} if {\n\tsome c in input.candidates\n\tc.juristiction == "EU"\n}',
        "juristiction",
        "input.candidates[_].jurisdiction?",
    ),
    "every": (
        'decision := {"allow": true} if every c in input.candidates { c.juristiction == "EU" }',
        "juristiction",
        "input.candidates[_].jurisdiction?",
    ),
    "index": (
        'decision := {"allow": true} if input.candidates[_].juristiction == "EU"',
        "juristiction",
        "input.candidates[_].jurisdiction?",
    ),
    "finding": (
        'decision := {"allow": true} if {\n\tsome type, f in input.content.findings\n\tf.cuont > 2\n}',
        "cuont",
        "input.content.findings[_].count?",
    ),
    "comprehension": (
        'decision := {"allow": true} if "EU" in {c.juristiction | some c in input.candidates}',
        "juristiction",
        "input.candidates[_].jurisdiction?",
    ),
    "through a comprehension": (
        'decision := {"allow": true} if {\n\tcs := [c | some c in input.candidates; c.healthy]\n\tsome c in cs\n'
        '\tc.juristiction == "EU"\n}',
        "juristiction",
        "input.candidates[_].jurisdiction?",
    ),
    "rule": (
        'who := input.principal\n\ndecision := {"allow": true} if who.tenent == "a"',
        "tenent",
        "input.principal.tenant?",
    ),
    "argument": (
        'ok(p) if p.tenent == "a"\n\ndecision := {"allow": true} if ok(input.principal)',
        "tenent",
        "input.principal.tenant?",
    ),
    "argument of an argument": (
        'decision := {"allow": true} if a(input.principal)\n\na(x) if b(x)\n\nb(p) if p.tenent == "a"',
        "tenent",
        "input.principal.tenant?",
    ),
    "import": (
        'import input.principal as who\n\ndecision := {"allow": true} if who.tenent == "a"',
        "tenent",
        "input.principal.tenant?",
    ),
    "negation": ('decision := {"allow": true} if not input.model.streem', "streem", "input.model.stream?"),
    "else": (
        'decision := {"allow": true} if input.model.stream else := {"allow": input.model.streem}',
        "streem",
        "input.model.stream?",
    ),
    "home": (
        'decision := {"allow": true} if "a" in input.roles',
        "roles",
        "input.principal.roles?",
    ),
    "array": (
        'decision := {"allow": true} if input.candidates.jurisdiction == "EU"',
        "jurisdiction",
        "some x in input.candidates",
    ),
    "text": ('decision := {"allow": true} if input.tenant.id.name == "a"', "name", "use it as it is"),
    "of the other moment": ('decision := {"allow": true} if input.answer.status == 200', "answer", "input.answer?"),
    "in a value": ('decision := {"allow": true, "labels": {"x": input.tennant.id}}', "tennant", "input.tenant?"),
    "in a head": (
        'labels[input.tennant.id] := "x"\n\ndecision := {"allow": true, "labels": labels}',
        "tennant",
        "input.tenant?",
    ),
    "in a call": (
        'decision := {"allow": true} if startswith(input.tennant.id, "a")',
        "tennant",
        "input.tenant?",
    ),
    "in brackets": (
        'decision := {"allow": true} if data.known[input.tennant.id]',
        "tennant",
        "input.tenant?",
    ),
}


@pytest.mark.parametrize("case", CERTAIN)
def test_what_can_never_be_there_is_an_error_at_its_place(case: str) -> None:
    text, key, meant = CERTAIN[case]
    (problem,) = of(text + "\n")
    lines = (HEAD + text).splitlines()
    assert problem.severity == "error"
    assert problem.file == "request.rego"
    at = lines[problem.line - 1][problem.column - 1 :]
    assert at.lstrip('"').startswith(key)
    assert meant in problem.remedy


FINE = {
    "all of it": 'decision := {"allow": input.principal.tenant == input.tenant.id}',
    "headers": 'decision := {"allow": input.attributes.request.http.headers["x-team"] == "a"}',
    "the body": 'decision := {"allow": input.parsed_body.principle.tenent == "a"}',
    "the query": 'decision := {"allow": input.parsed_query.principle[0] == "a"}',
    "a finding type": 'decision := {"allow": input.content.findings.dna.count == 1}',
    "a dynamic key": 'decision := {"allow": true} if {\n\tsome key in ["principle"]\n\tnot input[key]\n}',
    "through a dynamic key": 'decision := {"allow": true} if {\n\tsome key in ["tenant"]\n\tinput[key].residency\n}',
    "a local that hides": 'decision := {"allow": true} if {\n\tinput.tenant\n\tp := {"tenent": 1}\n\tp.tenent == 1\n}',
    "an inner local that hides": (
        'decision := {"allow": true} if {\n\tp := input.principal\n\tp.tenant\n\tevery p in [{"x": 1}] { p.x == 1 }\n}'
    ),
    "one of several": (
        'who := input.principal if input.model.stream\n\nwho := {"tenent": "a"} if not input.model.stream\n\n'
        'decision := {"allow": true} if who.tenent == "a"'
    ),
    "an argument with two meanings": (
        'ok(p) if p.tenent == "a"\n\ndecision := {"allow": true} if {\n\tok(input.principal)\n\tok({"tenent": "a"})\n}'
    ),
    "an argument that hides a rule": (
        "who := input.principal\n\nok(who) if who.x == 1\n\n"
        'decision := {"allow": true} if {\n\twho.id\n\tok({"x": 1})\n}'
    ),
    "text in the source": 'decision := {"allow": "input.principle" == `input.principle`}  # input.principle',
    "a certificate": 'decision := {"allow": input.principal.certificate.sans[0] == "DNS:a"}',
    "a membership": 'decision := {"allow": "a" in input.principal.roles}',
    "counted": 'decision := {"allow": count(input.candidates) > 1}',
}


@pytest.mark.parametrize("case", FINE)
def test_what_may_be_there_is_let_be(case: str) -> None:
    assert of(FINE[case] + "\n") == []


def test_what_is_read_of_another_input_is_not_judged() -> None:
    text = 'decision := {"allow": true} if data.lib.ok with input as input.parsed_body\n'
    assert of(text, lib='package lib\n\nok if input.principle.tenent == "a"\n') == []


def test_what_the_input_of_a_mock_is_made_of_is_judged() -> None:
    text = 'decision := {"allow": true} if data.lib.ok with input as input.parsed_bode\n'
    (problem,) = of(text, lib="package lib\n\nok if input.x\n")
    assert (problem.severity, problem.remedy) == ("error", "did you mean input.parsed_body?")


def test_a_default_given_makes_it_a_warning() -> None:
    text = 'decision := {"allow": object.get(input.principal, "tenent", "a") == "a"}\n'
    (problem,) = of(text)
    assert (problem.severity, problem.line) == ("warning", 3)
    assert "input.principal.tenant?" in problem.remedy
    assert of('decision := {"allow": object.get(input, ["tenant", "id"], "a") == "a"}\n') == []


def test_what_no_decision_reaches_is_a_warning() -> None:
    found = of('decision := {"allow": true}\n\nspare if input.principle.tenant\n')
    assert [(each.severity, each.line) for each in found] == [("warning", 5)]


def test_a_helper_of_both_moments_may_read_what_either_has() -> None:
    helper = "package lib\n\nstatus := input.answer.status\n\nids := {c.id | some c in input.candidates}\n"
    request = 'decision := {"allow": true} if {\n\tdata.lib.ids\n\tnot data.lib.status\n}\n'
    response = 'package cordon.response\n\ndecision := {"allow": true} if {\n\tdata.lib.status\n\tnot data.lib.ids\n}\n'
    assert of(request, lib=helper, response=response) == []


def test_tests_are_warned_of_documents_that_cannot_be() -> None:
    tests = """package a_test

import data.cordon.request

mistaken := {"tenant": {"id": "a", "residancy": []}}

test_a if request.decision.allow with input.tennant.id as "a"
test_b if request.decision.allow with input as {"principal": {"tenent": "a"}, "parsed_body": {"any": 1}}
test_c if request.decision.allow with input as mistaken
test_d if request.decision.allow with input as object.union(mistaken, {"candidates": [{"ids": 1}]})
test_e if request.decision.allow with input as {}
test_f if request.decision.allow with input.content.findings as {"dna": {"count": 1}}
"""
    found = of('decision := {"allow": input.tenant.id == "a"}\n', a_test=tests)
    assert {each.severity for each in found} == {"warning"}
    assert [(each.line, each.remedy) for each in found] == [
        (5, "did you mean input.tenant.residency?"),
        (7, "did you mean input.tenant?"),
        (8, "did you mean input.principal.tenant?"),
        (10, "did you mean input.candidates[_].id?"),
    ]


def test_bundles_for_envoy_are_told_what_is_not_given_here() -> None:
    text = """package envoy.authz

import input.attributes.request.http as http_request

default allow := false

allow if {
	http_request.method == "GET"
	http_request.headers["x-a"] == "b"
	input.attributes.source.principal == "spiffe://a"
	input.parsed_path[0] == "v1"
	input.version.encoding == "protojson"
}
"""
    found = inputs_of({"authz.rego": text}, ENVOY)
    assert [(each.severity, each.line, each.column) for each in found] == [("warning", 10, 26), ("warning", 12, 8)]
    assert "opa-envoy-plugin has input.attributes.source.principal" in found[0].message
    (typo,) = inputs_of({"authz.rego": text.replace('input.parsed_path[0] == "v1"', "input.parsed_pth")}, ENVOY)[1:2]
    assert (typo.severity, typo.remedy) == ("error", "did you mean input.parsed_path?")


def test_a_bundle_that_cannot_be_parsed_is_left_to_admission() -> None:
    read = bundle(MINIMAL | {"request.rego": "package cordon.request\n\ndecision := {\n"})
    admission = admit_now(read, SETTINGS)
    assert {problem.code for problem in examine(read, admission, SETTINGS)} == {"parse"}


def test_deep_nesting_in_a_test_is_a_problem_not_a_hang() -> None:
    read = bundle(MINIMAL | {"a_test.rego": f"package a_test\n\nx := {'[' * 40}{']' * 40}\n"})
    found = examine(read, admit_now(read, SETTINGS), SETTINGS)
    assert [(each.file, each.code) for each in found] == [("a_test.rego", "nesting")]


def test_deep_expressions_do_not_break_the_check() -> None:
    text = 'decision := {"allow": true} if ' + " + ".join(["input.call.attempt"] * 200) + " == 1\n"
    assert [each.code for each in of(text)] == []
    read = bundle(MINIMAL | {"request.rego": HEAD + text.replace("attempt", "atempt")})
    problems = examine(read, admit_now(read, SETTINGS), SETTINGS)
    assert {"unknown_input", "unchecked"} & {each.code for each in problems}


def test_many_names_in_a_body_are_looked_at_in_time() -> None:
    lines = "".join(f"\tv{number} := input.principal.id\n" for number in range(4_000))
    read = bundle(MINIMAL | {"request.rego": HEAD + 'decision := {"allow": true} if {\n' + lines + "}\n"})
    modules = examining.parsed(read.modules)
    began = time.process_time()
    names = examining.Names(modules)
    whole = document(load("input.request"))
    assert Inputs(names, dict.fromkeys(names.rules, whole), frozenset(names.rules), whole).problems() == []
    assert time.process_time() - began < 10


def test_the_input_of_decision_log_rules_is_another_one() -> None:
    mask = 'package system.log\n\nmask contains "/input/x" if input.input.principle\n'
    assert of('decision := {"allow": true}\n', mask=mask) == []
