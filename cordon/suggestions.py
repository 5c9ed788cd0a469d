"""What somebody may have meant by a setting's name or value that is not known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel

from cordon.yaml_file import Place

NEAR: Final = 0.6
MOST_PLACES: Final = 3


def of_key(root: type[BaseModel], place: Place) -> str:
    """For a key that is no setting at `place`: the section that it belongs into, a like name, or the names known."""
    name = str(place[-1])
    fields = _fields_at(root, place[:-1])
    homes = [path for path, model in sections(root) if name in model.model_fields]
    if 0 < len(homes) <= MOST_PLACES:
        return f"; it belongs into {' or '.join(home or 'the top level' for home in homes)}"
    near = nearest(name, fields)
    if near:
        return f"; did you mean {near}?"
    return f"; known here: {', '.join(sorted(fields))}" if fields else ""


def of_value(error_type: str, message: str, value: object) -> str:
    """For a value that is not taken, by pydantic's error on it; empty where there is nothing to add."""
    if error_type == "literal_error":
        near = nearest(str(value), re.findall(r"'([^']*)'", message))
        return f"; did you mean {near}?" if near else ""
    if error_type in {"int_parsing", "float_parsing"}:
        return "; write the number alone, times in seconds and sizes in bytes"
    return ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that `name` is most like, whatever its letter case; empty where none is."""
    by_lower = {each.lower(): each for each in known if each}
    found = difflib.get_close_matches(name.lower().replace("-", "_"), by_lower, n=1, cutoff=NEAR)
    return by_lower[found[0]] if found else ""


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Each section of settings and where it stands, such as `routes[].endpoints[]`; the whole file is ""."""
    yield path, model
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is not None:
            many = "[]" if str(field.annotation).startswith("tuple") else ""
            yield from sections(inner, f"{path}.{name}{many}".lstrip("."))


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation such as `tuple[Route, ...]` or `Tls | None` holds, if it holds one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := model_in(part))), None)


def _fields_at(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """Names of the settings that exist at `place`."""
    for part in place:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)
