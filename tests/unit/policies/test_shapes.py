"""Patterns and schemas that a bundle asks for are checked before anything runs them."""

from __future__ import annotations

from typing import Any

import pytest

from policies.shapes import MAX_DEPTH, MAX_PATTERN, MAX_SCHEMA, check_pattern, check_schema


@pytest.mark.parametrize("pattern", ["a", "(?i)secret", r"\bIBAN\b", "[A-Z]{2}[0-9]{2}", "x" * MAX_PATTERN, "日本"])
def test_patterns_that_are_taken(pattern: str) -> None:
    assert check_pattern(pattern) == ""


@pytest.mark.parametrize("pattern", ["(", "[", "a{2,1}", r"(a)\1", "(?=a)", "(?!a)", "(?<=a)b", "*", "(?>a)", r"\8"])
def test_patterns_that_re2_does_not_accept(pattern: str) -> None:
    assert check_pattern(pattern) == "RE2 does not accept it"


@pytest.mark.parametrize("pattern", ["a*", "", "a?", "(a|)", "^", "$", "x{0,3}", "^$"])
def test_a_pattern_that_would_block_every_answer(pattern: str) -> None:
    assert check_pattern(pattern)


def test_too_long_or_too_large_a_pattern() -> None:
    assert "characters" in check_pattern("x" * (MAX_PATTERN + 1))
    assert check_pattern("((((x{100}){100}){100}){100})")


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "array", "items": {"type": "string"}},
        {"$defs": {"x": {"type": "number"}}, "properties": {"a": {"$ref": "#/$defs/x"}}},
        {"enum": ["a", 1, None]},
    ],
)
def test_schemas_that_are_taken(schema: dict[str, Any]) -> None:
    assert check_schema(schema) == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.org/schema"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "other.json"},
        {"properties": {"a": {"$dynamicRef": "http://127.0.0.1/"}}},
        {"allOf": [{"$ref": "//example.org"}]},
        {"$id": "https://example.org/"},
        {"$schema": "http://json-schema.org/draft-04/schema#"},
        {"not": {"if": {"$id": "urn:x"}}},
    ],
)
def test_a_schema_may_not_reach_outside(schema: dict[str, Any]) -> None:
    assert "must stay inside" in check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"pattern": "^(a+)+$"},
        {"properties": {"a": {"pattern": "x"}}},
        {"patternProperties": {"^(a+)+$": {}}},
        {"anyOf": [{}, {"items": {"pattern": "x"}}]},
    ],
)
def test_a_schema_may_not_hold_a_pattern(schema: dict[str, Any]) -> None:
    assert "not supported" in check_schema(schema)


@pytest.mark.parametrize(
    ("schema", "place"),
    [({"type": "nonsense"}, "/type"), ({"required": "a"}, "/required"), ({"properties": {"a": 5}}, "/properties/a")],
)
def test_what_is_no_schema_is_named_by_its_place(schema: dict[str, Any], place: str) -> None:
    assert check_schema(schema) == f"it is no valid JSON Schema at {place}"


def test_a_large_schema_is_refused() -> None:
    assert "longer than" in check_schema({"enum": ["x" * MAX_SCHEMA]})


def test_a_deep_schema_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(MAX_DEPTH + 1):
        schema = {"not": schema}
    assert "nested" in check_schema(schema)
    for _ in range(10_000):
        schema = {"not": schema}
    assert "nested" in check_schema(schema)
