"""`strings.render_template`: the part of Go's `text/template` that fills names in; anything else of it is an error."""

from __future__ import annotations

import re
from typing import Final

from policies.rego.checks import text
from policies.rego.digits import WRITTEN

_FIELD: Final = re.compile(r"\{\{ *\.(?P<name>[A-Za-z_][A-Za-z0-9_]*) *\}\}")
_NOTHING: Final = "<no value>"


def render_template(template: object, values: object) -> str:
    """`strings.render_template`: `{{.name}}` becomes a text, whole number or boolean; missing ones <undefined>."""
    if type(values) is not dict:
        raise TypeError("an object is expected")
    source = text(template)
    if any(not isinstance(key, str) or isinstance(value, dict | list | set) for key, value in values.items()):
        raise TypeError("flat values by name are expected")
    rest = _FIELD.sub("", source)
    if "{{" in rest or "{{" in re.sub(_FIELD, "{", source) or _NOTHING in source:
        raise ValueError("more of a template than names to fill in")
    return text(_FIELD.sub(lambda found: _shown(values, found["name"]), source))


def _shown(values: dict[str, object], name: str) -> str:
    if name not in values:
        return "<undefined>"
    value = values[name]
    if type(value) is str and "<" not in value and ">" not in value:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is int and not WRITTEN.otherwise:
        return str(value)
    raise TypeError("a value that is not printed the same everywhere")
