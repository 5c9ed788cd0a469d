"""What the engine would read otherwise than OPA, or would not survive, is refused before anything serves it."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from policies.admission import Admission, admit_now
from policies.bundle import load_bundle
from policies.errors import BundleError, Problem
from policies.settings import Policy
from tests.support.policies import MINIMAL, SETTINGS, bundle, examined, write

HEAD = 'package cordon.request\n\ndecision := {"allow": true} if {\n'
HUGE = "18446744073709551616"


def refusal(admission: Admission, code: str) -> Problem:
    """The first error of this kind, told with a remedy."""
    assert admission.bundle is None
    found = [problem for problem in admission.errors if problem.code == code]
    assert found, admission.problems
    assert found[0].remedy
    return found[0]


def test_a_plain_bundle_is_admitted() -> None:
    admission = examined()
    assert admission.bundle is not None
    assert admission.problems == ()
    assert admission.uncached == {}
    assert set(admission.costs) == {SETTINGS.request_rule, SETTINGS.response_rule}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("http.send({})", "builtin"),
        ('crypto.x509.parse_certificates("x")', "builtin"),
        ("opa.runtime()", "builtin"),
        ("print(input)", "builtin"),
        ("no_such_function(1)", "builtin"),
        (f"input.n == {HUGE}", "number"),
        ("input.n == 1e400", "parse"),
        ("input.n == 0.1000000000000000055", "number"),
        ('regex.match("(?=x)", input.x)', "regex"),
        ('regex.match("(a", input.x)', "regex"),
        ('sprintf("%q", [1]) == "1"', "format"),
    ],
)
def test_what_would_be_read_otherwise_is_refused_with_its_place(line: str, code: str) -> None:
    problem = refusal(examined(request=f"{HEAD}\t{line}\n}}\n"), code)
    assert (problem.file, problem.line) == ("request.rego", 4)


@pytest.mark.parametrize("pattern", [r"^\w+$", r"^\d+$", r"\bcat\b", "(?i)CAT"])
def test_perl_classes_mean_what_they_mean_in_opa(pattern: str) -> None:
    """The engine's own regexes take these for Unicode; they are evaluated by RE2 instead, or refused."""
    from policies.embedded import EmbeddedEngine
    from tests.support.policies import ask

    admission = examined(request=f"{HEAD}\tregex.match(`{pattern}`, input.x)\n}}\n")
    assert admission.bundle is not None, admission.errors
    engine = EmbeddedEngine(admission.bundle, SETTINGS)
    assert ask(engine, {"x": {r"^\d+$": "12"}.get(pattern, "cat")}).allow
    assert not ask(engine, {"x": {r"^\d+$": "١٢", r"^\w+$": "é", r"\bcat\b": "cats", "(?i)CAT": "dog"}[pattern]}).allow


@pytest.mark.parametrize(
    "text",
    [
        'package cordon.request\n\ndecision := {"allow": decision.allow}\n',
        'package cordon.request\n\ndecision := {"allow": a}\n\na if b\n\nb if c\n\nc if a\n',
        'package cordon.request\n\ndecision := {"allow": f(1)}\n\nf(x) := f(x)\n',
        'package cordon.request\n\ndecision := {"allow": f(1)}\n\nf(x) := g(x)\n\ng(x) := f(x)\n',
    ],
)
def test_recursion_is_refused(text: str) -> None:
    assert refusal(examined(request=text), "recursion").file == "request.rego"


def test_recursion_over_files_is_refused() -> None:
    admission = examined(
        request='package cordon.request\n\ndecision := {"allow": data.cordon.response.x}\n\ny := 1 if data.a.z\n',
        response='package cordon.response\n\ndecision := {"allow": x}\n\nx if data.cordon.request.decision.allow\n',
    )
    assert "cordon.request.decision" in refusal(admission, "recursion").message


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{", "}"), ("(", ")"), ('{"a": ', "}")])
def test_exponential_nesting_is_refused_at_once(opening: str, closing: str) -> None:
    began = time.monotonic()
    text = f"package cordon.request\n\nx := {opening * 300}1{closing * 300}\n"
    problem = refusal(examined(request=text), "nesting")
    assert problem.line == 3
    assert time.monotonic() - began < 5


def test_numbers_beyond_reach_in_data_are_refused() -> None:
    with pytest.raises(BundleError, match=r"data\.json:1: .*compared exactly"):
        bundle(MINIMAL | {"data.json": f'{{"n": {HUGE}}}'})


def test_a_link_out_of_the_bundle_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle")
    (folder / "x.rego").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match=r"x\.rego: the link leads out"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "data", ['{"cordon": {"request": {"decision": {"allow": true}}}}', '{"cordon": {"request": 1}}', '{"cordon": []}']
)
def test_data_in_a_rules_place_is_refused(data: str) -> None:
    problem = refusal(examined(MINIMAL | {"data.json": data}), "conflict")
    assert (problem.file, problem.line) == ("request.rego", 3)


def test_a_rule_that_is_asked_for_and_missing_is_refused() -> None:
    files = {"request.rego": MINIMAL["request.rego"]}
    assert "data.cordon.response.decision" in refusal(examined(files), "entry").message
    assert examined(files, Policy(unsafe_pass_answers=True)).bundle is not None


def test_too_dear_a_bundle_is_refused() -> None:
    text = f"{HEAD}\tsome x in numbers.range(1, 60)\n\tsome y in numbers.range(1, 60)\n\tx * y == 0\n}}\n"
    problem = refusal(examined(None, Policy(decision_ms=1), request=text), "cost")
    assert "policy.decision_ms" in problem.message


def test_a_bundle_that_hangs_is_refused_within_its_time() -> None:
    ranges = "".join(f"\tsome x{place} in numbers.range(1, 9999)\n" for place in range(4))
    began = time.monotonic()
    problem = refusal(
        examined(None, Policy(admission_seconds=1), request=f"{HEAD}{ranges}\tx0 + x1 + x2 + x3 == 0\n}}\n"), "broken"
    )
    assert time.monotonic() - began < 6
    assert "step: evaluate" in problem.message


def test_text_that_is_no_rego_is_refused_with_its_place() -> None:
    problem = refusal(examined(request="package cordon.request\n\ndecision := :=\n"), "parse")
    assert (problem.file, problem.line) == ("request.rego", 3)


@pytest.mark.parametrize("seed", range(8))
def test_random_text_never_breaks_admission(seed: int) -> None:
    dice = random.Random(seed)
    words = (
        """if { } [ ] ( ) := == not some x in input.a "x" 1 | with as else every contains default import ` é , f(x) #"""
    )
    text = MINIMAL["request.rego"] + " ".join(dice.choices([*words.split(), "\n", "\0"], k=60))
    began = time.monotonic()
    admission = admit_now(bundle(request=text), Policy(admission_seconds=3))
    assert time.monotonic() - began < 8
    assert admission.bundle is not None or admission.errors
