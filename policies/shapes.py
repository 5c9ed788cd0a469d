"""What a bundle may ask of an answer's text: RE2 patterns and JSON Schemas, checked before anything runs them.

A schema may have been copied from the client's own request, so it is treated as hostile: it must not fetch
anything, nor hold a pattern that a backtracking engine would choke on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import orjson
import re2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

MAX_PATTERN: Final = 512
MAX_SCHEMA: Final = 16_384
MAX_DEPTH: Final = 32

_QUIET: Final = re2.Options()
_QUIET.log_errors = False
_QUIET.max_mem = 1 << 20


@lru_cache(maxsize=1_024)
def check_pattern(pattern: str) -> str:
    """Say why `pattern` cannot be used as an RE2 pattern; empty when it can."""
    if not 0 < len(pattern) <= MAX_PATTERN:
        return f"a pattern has 1 to {MAX_PATTERN} characters"
    try:
        compiled = re2.compile(pattern, _QUIET)
    except re2.error:
        return "RE2 does not accept it"
    if compiled.fullmatch("") is not None:
        return "it matches the empty text, so it would block every answer"
    return ""


def check_schema(schema: Mapping[str, object]) -> str:
    """Say why `schema` cannot be used as a JSON Schema (draft 2020-12); empty when it can."""
    try:
        text = orjson.dumps(schema)
    except orjson.JSONEncodeError:
        return "it is nested too deeply"
    return _check_schema_text(text)


@lru_cache(maxsize=256)
def _check_schema_text(text: bytes) -> str:
    if len(text) > MAX_SCHEMA:
        return f"it is longer than {MAX_SCHEMA} bytes"
    schema = orjson.loads(text)
    fault = _unsafe(schema, 0)
    if fault:
        return fault
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"it is no valid JSON Schema at /{'/'.join(str(step) for step in error.path)}"
    return ""


def _unsafe(value: object, depth: int) -> str:
    """Find what would let a schema reach outside or run long."""
    if depth > MAX_DEPTH:
        return f"it is nested deeper than {MAX_DEPTH} levels"
    if isinstance(value, list):
        return next(filter(None, (_unsafe(item, depth + 1) for item in value)), "")
    if not isinstance(value, dict):
        return ""
    for key in ("$ref", "$dynamicRef", "$schema", "$id"):
        target = value.get(key)
        if isinstance(target, str) and not target.startswith("#") and (key != "$schema" or target != _DRAFT):
            return f"{key} must stay inside the schema (#/…)"
    for key in ("pattern", "patternProperties"):
        if key in value:
            return f"{key} is not supported; use output.block or enum"
    return next(filter(None, (_unsafe(item, depth + 1) for item in value.values())), "")


_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
