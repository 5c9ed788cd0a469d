"""`json.verify_schema` and `json.match_schema`, for schemas made of `type`, `properties`, `required` and `items`.

OPA words each error itself. The words are kept for one error of a type or of a missing property; a schema with other
keywords, and a document with several errors, whose order is not told, are an error here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Final

from policies.rego.checks import MAX_DEPTH, distinct, size, text
from policies.rego.values import json_unmarshal

_NAMES: Final = ("array", "boolean", "integer", "number", "null", "object", "string")
_UNKNOWN: Final = (
    f"has a primitive type that is NOT VALID -- given: /%s/ Expected valid values are:[{' '.join(_NAMES)}]"
)
_KEYWORDS: Final = frozenset({"type", "properties", "required", "items", "title", "description"})
_MOST_VALUES: Final = 10_000
_Schema = Mapping[str, Any]


class _Unknown(Exception):
    """A type that does not exist, which OPA names."""


def verify_schema(schema: object) -> list[object]:
    """`json.verify_schema`: whether a schema is one, and what is wrong with it or null."""
    try:
        _checked(_document(schema), 0)
    except _Unknown as unknown:
        return [False, "jsonschema: " + _UNKNOWN % unknown]
    return [True, None]


def match_schema(document: object, schema: object) -> list[object]:
    """`json.match_schema`: whether a document has the shape of a schema, and an array of its errors."""
    rules, value = _document(schema), _document(document)
    try:
        _checked(rules, 0)
    except _Unknown:
        raise ValueError("a schema with a type that does not exist") from None
    found = list(_errors(rules, value, ""))
    if len(found) > 1:
        raise ValueError("more than one error, whose order is not told")
    return [not found, found]


def _document(value: object) -> Any:
    """An object, or the object or array that a text holds: OPA takes no arrays that are none of a text."""
    kinds: type | UnionType = dict
    found = distinct(value)
    if type(value) is str:
        kinds, found = dict | list, json_unmarshal(value)
    if not isinstance(found, kinds) or size(found) > _MOST_VALUES:
        raise TypeError("an object of bounded size is expected, or a text of one or of an array")
    return found


def _checked(schema: object, depth: int) -> None:
    """Refuse what is not known here, and raise _Unknown for a type that does not exist anywhere."""
    if not isinstance(schema, dict) or not schema.keys() <= _KEYWORDS or depth > MAX_DEPTH:
        raise ValueError("a schema with keywords that are not known here")
    for keyword in ("title", "description"):
        text(schema.get(keyword, ""))
    parts = schema.get("properties", {})
    if not isinstance(parts, dict):
        raise TypeError("properties is an object")
    inner = [*parts.values(), *([schema["items"]] if "items" in schema else [])]
    if "type" in schema and text(schema["type"]) not in _NAMES:
        if depth or inner:
            raise ValueError("a type that does not exist, among others")
        raise _Unknown(schema["type"])
    required = schema.get("required", [])
    if not isinstance(required, list) or len(set(map(text, required))) != len(required):
        raise ValueError("required is an array of different texts")
    for each in inner:
        _checked(each, depth + 1)


def _errors(schema: _Schema, value: object, field: str) -> Iterator[dict[str, str]]:
    given = _type(value)
    expected = schema.get("type", given)
    if expected != given and (expected, given) != ("number", "integer"):
        yield _error(field, "invalid_type", f"Invalid type. Expected: {expected}, given: {given}")
        return
    if isinstance(value, dict):
        for name in schema.get("required", []):
            if name not in value:
                yield _error(field, "required", f"{name} is required")
        for name, part in schema.get("properties", {}).items():
            if name in value:
                yield from _errors(part, value[name], f"{field}.{name}" if field else name)
    elif isinstance(value, list) and "items" in schema:
        for place, each in enumerate(value):
            yield from _errors(schema["items"], each, f"{field}.{place}" if field else str(place))


def _error(field: str, kind: str, words: str) -> dict[str, str]:
    where = field or "(Root)"
    return {"desc": words, "error": f"{where}: {words}", "field": where, "type": kind}


def _type(value: object) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", list: "array"}
    if value is None:
        return "null"
    if type(value) is float and value.is_integer():
        return "integer"
    if type(value) not in kinds:
        raise TypeError("a value that is not of JSON")
    return kinds[type(value)]
