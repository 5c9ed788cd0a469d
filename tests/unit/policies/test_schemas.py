"""The schemas describe what goes into a decision and what its reader accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from policies import samples, schemas
from policies.result import FINDINGS, TOKENISE, TRANSFORMS, read_answer, read_request

NAMES: list[schemas.Name] = ["input.request", "input.response", "result.request", "result.response"]


def valid(name: schemas.Name, value: Any) -> bool:
    return bool(Draft202012Validator(schemas.load(name)).is_valid(value))


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_schema_and_every_field_is_described(name: schemas.Name) -> None:
    schema = schemas.load(name)
    Draft202012Validator.check_schema(schema)
    for field, part in schema["properties"].items():
        assert part.get("description"), field


def test_the_samples_that_admission_tries_are_documents() -> None:
    assert valid("input.request", samples.request(2))
    for phase in ("answer_head", "finding", "answer_end"):
        assert valid("input.response", samples.answer(phase))


def test_findings_and_transforms_are_those_that_are_enforced() -> None:
    for name, transforms in (("request", TRANSFORMS | {TOKENISE}), ("response", TRANSFORMS)):
        redact = schemas.load(f"result.{name}")["properties"]["redact"]
        assert set(redact["propertyNames"]["enum"]) == FINDINGS
        assert set(redact["additionalProperties"]["enum"]) == transforms


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"allow": "true"},
        {"allow": 1},
        {"allow": True, "redcat": {}},
        {"allow": True, "redact": {"email": "tokenize"}},
        {"allow": True, "redact": {"dna": "mask"}},
        {"allow": True, "require_approval": True},
        {"allow": True, "limits": {"tokens": 1}},
        {"allow": True, "labels": {"a": 1}},
    ],
)
def test_what_the_schema_refuses_the_reader_denies(result: dict[str, Any]) -> None:
    assert not valid("result.request", result)
    assert not read_request(json.dumps(result)).allow


def test_a_full_result_satisfies_schema_and_reader() -> None:
    asked = {"allow": True, "endpoints": ["a"], "redact": {"email": "mask"}, "labels": {"a": "b"}, "limits": {}}
    said = {"allow": True, "plan": "pass", "output": {"max_chars": 3, "block": [{"id": "x", "pattern": "y"}]}}
    assert valid("result.request", asked)
    assert read_request(json.dumps(asked)).allow
    assert valid("result.response", said)
    assert read_answer(json.dumps(said)).plan == "inspect"
