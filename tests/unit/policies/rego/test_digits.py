"""1 and 1.0 are one number here and two texts to OPA: no text is made of one that may have been the other."""

from __future__ import annotations

import json

import pytest

from policies.embedded import EmbeddedEngine
from policies.errors import PolicyError
from policies.rego.digits import is_plain, written_otherwise
from tests.support.policies import SETTINGS, bundle, examined

TEXTS = [
    "json.marshal(input.v)",
    'sprintf("%v", [[input.v]])',
    '$"{input.v}"',
    "json.marshal(json.unmarshal(input.text))",
    "json.marshal([data.limit, 1])",
]


def engine(text: str, data: str = "{}") -> EmbeddedEngine:
    rules = f'package cordon.request\n\ndecision := {{"allow": input.go, "reasons": [{text}]}}\n'
    files = {"request.rego": rules, "response.rego": 'package cordon.response\n\ndecision := {"allow": true}\n'}
    admission = examined(files | ({"data.json": data} if data != "{}" else {}))
    assert admission.bundle is not None, admission.errors
    return EmbeddedEngine(admission.bundle, SETTINGS)


def said(made: EmbeddedEngine, document: str) -> object:
    return json.loads(made.evaluate(SETTINGS.request_rule, document.encode()))


@pytest.mark.parametrize("text", TEXTS[:3])
def test_no_text_is_made_of_a_number_that_is_written_otherwise(text: str) -> None:
    made = engine(text)
    assert said(made, '{"go": true, "v": 1}')
    for written in ("1.0", "1e0", "10.00", "-0"):
        with pytest.raises(PolicyError):
            said(made, f'{{"go": true, "v": {written}}}')
    assert said(made, '{"go": true, "v": 1}'), "it holds for one document alone"


def test_what_was_unmarshalled_counts_too() -> None:
    made = engine(TEXTS[3])
    assert said(made, '{"go": true, "text": "[1]"}')
    with pytest.raises(PolicyError):
        said(made, '{"go": true, "text": "[1.0]"}')
    assert said(made, '{"go": true, "text": "[1, \\"2.0\\"]"}')


def test_what_the_data_have_counts_always() -> None:
    assert said(engine(TEXTS[4], '{"limit": 2}'), '{"go": true}')
    with pytest.raises(PolicyError):
        said(engine(TEXTS[4], '{"limit": 2.0}'), '{"go": true}')


def test_other_rules_go_on_with_such_numbers() -> None:
    made = engine('"x"')
    assert said(made, '{"go": true, "temperature": 1.0}') == {"allow": True, "reasons": ["x"]}


@pytest.mark.parametrize("literal", ["1.0", "1e3", "1.50e1"])
def test_a_rule_that_writes_it_so_is_refused_with_what_to_write(literal: str) -> None:
    admission = examined(
        request=f'package cordon.request\n\ndecision := {{"allow": true, "reasons": [json.marshal({literal})]}}\n'
    )
    assert [problem.code for problem in admission.errors] == ["number"]
    assert "write " in admission.errors[0].remedy


@pytest.mark.parametrize("literal", ["1.0", "1e3", "[{1.50e1}]", "9007199254740993", "[18446744073709551615]"])
def test_a_number_that_is_only_compared_may_be_written_in_any_way(literal: str) -> None:
    rules = f'package cordon.request\n\ndecision := {{"allow": input.n < {literal}}}\n'
    assert examined(request=rules).bundle is not None


def test_the_bundle_of_plain_numbers_is_admitted() -> None:
    assert examined(request='package cordon.request\n\ndecision := {"allow": input.n < 0.5}\n').bundle is not None
    assert bundle().modules


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ("[1]", False), ("[1.5]", False), ("[1.0]", True), ("1.0", True), ("[1e2]", True), ("[1E-2]", True),
        ("[-0]", True), ("[0]", False), ('["1.0, 2e3"]', False), ('{"a": {"b": 20.000}}', True), ("[-0.5]", False),
        ('{"-0": 1}', False), ("[10.0\n]", True),
    ],
)  # fmt: skip
def test_only_numbers_are_looked_at(document: str, found: bool) -> None:
    assert written_otherwise(document.encode()) is found


def test_plain_is_what_is_printed() -> None:
    assert [is_plain(text) for text in ("0", "-1", "0.25", "-0", "1.0", "1e1", "2.5e0")] == [True] * 3 + [False] * 4


@pytest.mark.parametrize("junk", [b"0e0x", b"-0 1", b"1.0,", b"[1e3", b"[" * 100_000 + b"1e3"])
def test_what_is_no_json_is_no_failure_of_its_own(junk: bytes) -> None:
    assert written_otherwise(junk)
