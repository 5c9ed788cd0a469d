"""The fields of a record, read one by one: of the right type and form, or a RecordError that names the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lineage.errors import RecordError

_HEX: Final = frozenset("0123456789abcdef")


def text(record: Mapping[str, object], name: str, *, empty: bool = False) -> str:
    """A text; with `empty`, one that may be empty or missing."""
    value = record.get(name, "" if empty else None)
    if type(value) is not str or not (value or empty):
        raise RecordError(f"a {record.get('kind')} record needs a text in {name!r}")
    return value


def time(record: Mapping[str, object], name: str) -> int:
    """A time in ms since the epoch, or another whole number that is used as one."""
    value = record.get(name)
    if type(value) is not int:
        raise RecordError(f"a {record.get('kind')} record needs a time in ms in {name!r}")
    return value


def digest(record: Mapping[str, object], name: str) -> str:
    """A SHA-256 in lower-case hex."""
    value = text(record, name)
    if len(value) != 64 or not set(value) <= _HEX:
        raise RecordError(f"a {record.get('kind')} record needs a SHA-256 in lower-case hex in {name!r}")
    return value


def one_of(record: Mapping[str, object], name: str, allowed: tuple[str, ...]) -> str:
    """One of these texts."""
    value = text(record, name)
    if value not in allowed:
        raise RecordError(f"a {record.get('kind')} record's {name!r} is one of {', '.join(allowed)}")
    return value
