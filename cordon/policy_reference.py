"""The reference of what policy is shown and may say, written from the JSON Schemas that both are held against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.rego.builtins import ARITY
from policies.schemas import Name, load

PARTS: Final[tuple[tuple[Name, str, str], ...]] = (
    (
        "input.request",
        "Input of the request rule",
        "What `data.cordon.request.decision` is shown before a call is sent.",
    ),
    (
        "result.request",
        "Result of the request rule",
        "What it may say. A key beside these, or of another type, denies.",
    ),
    ("input.response", "Input of the response rule", "What `data.cordon.response.decision` is shown at each moment."),
    (
        "result.response",
        "Result of the response rule",
        "What it may say. A key beside these, or of another type, denies.",
    ),
)


_BUILTINS: Final = (
    "The embedded engine evaluates these as OPA does; tests hold each against OPA. Others are refused by admission, "
    "with the place; an OPA server (`policy.engine: opa`) has them all."
)


def policy_reference(generated: str) -> str:
    """The page: one table for each schema, a row for each path; `generated` says where the page comes from."""
    lines = [
        "# What policy is shown, and what it may say",
        "",
        generated,
        "",
        "`*` stands for any key, `[]` for each entry of a list. Parts of the input that a bundle cannot read are left "
        "out of it. The schemas themselves are in `policies/schemas/`; `cordon policy check` holds every reference "
        "of a bundle against them.",
    ]
    for name, title, meaning in PARTS:
        lines += ["", f"## {title}", "", meaning, "", "| path | takes | meaning |", "|---|---|---|"]
        schema = load(name)
        lines += [
            f"| `{path}`{_mark(name, required)} | {_cell(takes)} | {_cell(text)} |"
            for path, takes, text, required in _rows(schema, schema, "")
        ]
    lines += [
        "",
        "## Builtins",
        "",
        _BUILTINS,
        "",
        ", ".join(f"`{name}`" for name in sorted(ARITY) if _is_public(name)),
    ]
    return "\n".join(lines) + "\n"


def _is_public(name: str) -> bool:
    return not name.startswith("cordon_")


def _rows(schema: Mapping[str, Any], node: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str, bool]]:
    """Path, type, meaning and whether it has to be there, of everything below a part of a schema."""
    node = _resolved(schema, node)
    needed = node.get("required", ())
    for key, value in node.get("properties", {}).items():
        at = f"{path}.{key}" if path else key
        part = _resolved(schema, value)
        yield at, _takes(part), value.get("description") or part.get("description", ""), key in needed
        yield from _rows(schema, part, at)
    more = node.get("additionalProperties")
    if isinstance(more, Mapping) and more:
        part = _resolved(schema, more)
        yield f"{path}.*", _takes(part), part.get("description", ""), False
        yield from _rows(schema, part, f"{path}.*")
    items = node.get("items")
    if isinstance(items, Mapping):
        yield from _rows(schema, items, f"{path}[]")


def _mark(name: str, required: bool) -> str:
    """What has to be said of whether a part is there: it nearly always is in an input, and hardly ever in a result."""
    if name.startswith("input."):
        return "" if required else ", may be absent"
    return ", required" if required else ""


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return node
    found: Any = schema
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return {**found, **{key: value for key, value in node.items() if key != "$ref"}}


def _takes(node: Mapping[str, Any]) -> str:
    if "const" in node:
        return _shown(node["const"])
    if "enum" in node:
        return " or ".join(map(_shown, node["enum"]))
    for key in ("anyOf", "oneOf"):
        if key in node:
            return " or ".join(dict.fromkeys(_takes(each) for each in node[key]))
    kind = node.get("type", "anything")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _shown(value: object) -> str:
    return "true" if value is True else "false" if value is False else f"`{value}`" if value != "" else "empty text"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
