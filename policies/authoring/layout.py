"""Which keys a document can have, by the JSON Schemas that document it.

Only what a schema rules out counts as impossible: where it says nothing (`parsed_body`), anything may be.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Schema = Mapping[str, Any]
NEAR: Final = 0.6
VERY_NEAR: Final = 0.75
MOST_HOMES: Final = 2
_DEEPEST: Final = 12
_OF: Final = "[]"
"""Ends the path of a collection that a comprehension makes of the values at that path."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a value can look like: one of `schemas`. `path` is its place, such as `input.candidates[_]`."""

    path: str
    schemas: tuple[Schema, ...]


class Missing(Exception):
    """A step that no schema has. `known` are the keys there; `kind` what the value is instead of an object."""

    def __init__(
        self, layout: Layout, key: str | None, known: frozenset[str], kind: Literal["object", "array", "scalar"]
    ):
        super().__init__(layout.path)
        self.layout, self.key, self.known, self.kind = layout, key, known, kind


def document(*schemas: Schema) -> Layout:
    """The layout of `input`, where it is described by any of these schemas."""
    return Layout("input", schemas)


def joined(*layouts: Layout | None) -> Layout | None:
    """What a value can look like that is any of these; None, for anything, where one of them is."""
    found: dict[int, Schema] = {}
    for layout in layouts:
        if layout is None:
            return None
        found.update((id(schema), schema) for schema in layout.schemas)
    first = next(iter(layouts), None)
    return Layout(first.path, tuple(found.values())) if first else None


def collection(kind: Literal["array", "set"], items: Layout) -> Layout:
    """What a collection of such values looks like."""
    return Layout(items.path + _OF, ({"type": kind, "items": {"anyOf": list(items.schemas)}},))


def inner(layout: Layout | None, key: str | None) -> Layout | None:
    """One step into a value (None: an index or key that is only known when evaluated); Missing where it cannot be."""
    if layout is None:
        return None
    found: list[Schema] = []
    for schema in layout.schemas:
        below = _below(schema, key)
        if below is None:
            return None
        found += below
    if not found:
        kinds = {schema.get("type") for schema in layout.schemas}
        kind: Literal["object", "array", "scalar"]
        kind = "object" if "object" in kinds else "array" if "array" in kinds else "scalar"
        raise Missing(layout, key, frozenset(_keys(layout)), kind)
    return Layout(_stepped(layout.path, key), tuple(found))


def _stepped(path: str, key: str | None) -> str:
    if path.endswith(_OF):
        return path.removesuffix(_OF)
    return path + _step(key)


def _step(key: str | None) -> str:
    return "[_]" if key is None else f".{key}" if key.isidentifier() else f'["{key}"]'


def _below(schema: Schema, key: str | None) -> tuple[Schema, ...] | None:
    """The schemas of one step below: none where it cannot be, None where anything can."""
    kind = schema.get("type")
    if kind == "object":
        return _in_object(schema, key)
    if kind in ("array", "set"):
        return alternatives(schema.get("items", {})) if key is None or kind == "set" else ()
    if kind is None or not isinstance(kind, str):
        return () if kind is None and ("const" in schema or "enum" in schema) else None
    return ()


def _in_object(schema: Schema, key: str | None) -> tuple[Schema, ...] | None:
    properties = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    if key is not None and key in properties:
        return alternatives(properties[key])
    if rest is True or "patternProperties" in schema:
        return None
    found: tuple[Schema, ...] = ()
    for each in [*(properties.values() if key is None else ()), *([rest] if rest is not False else ())]:
        below = alternatives(each)
        if below is None:
            return None
        found += below
    return found


def alternatives(schema: Schema) -> tuple[Schema, ...] | None:
    """The schemas of which one describes the value; None where that cannot be told."""
    if not schema or "$ref" in schema or "allOf" in schema:
        return None
    several = schema.get("anyOf") or schema.get("oneOf")
    if not several:
        return (schema,)
    found: tuple[Schema, ...] = ()
    for each in several:
        below = alternatives(each)
        if below is None:
            return None
        found += below
    return found


def _keys(layout: Layout) -> Iterator[str]:
    for schema in layout.schemas:
        yield from schema.get("properties", {})


def remedy(missing: Missing, root: Layout) -> str:
    """What may have been meant: a like name there, the same name elsewhere in the document, or the names there."""
    at = missing.layout.path
    if missing.kind == "array":
        return f"look into its items: some x in {at}"
    if missing.kind == "scalar" or missing.key is None:
        return "use it as it is"
    homes = sorted(set(_homes(root, missing.key)))
    for likeness in (VERY_NEAR, NEAR):
        near = difflib.get_close_matches(missing.key.lower(), sorted(missing.known), n=1, cutoff=likeness)
        if near:
            return f"did you mean {at}.{near[0]}?"
        if 0 < len(homes) <= MOST_HOMES:
            return f"did you mean {' or '.join(homes)}?"
    return f"known there: {', '.join(sorted(missing.known))}"


def _homes(layout: Layout, key: str, depth: int = 0) -> Iterator[str]:
    """Where else in a document a key of that name is."""
    if depth > _DEEPEST:
        return
    for name in [*dict.fromkeys(_keys(layout)), None]:
        try:
            below = inner(layout, name)
        except Missing:
            continue
        if below is None or (name is None and any("properties" in schema for schema in layout.schemas)):
            continue
        if name == key:
            yield below.path
        yield from _homes(below, key, depth + 1)
