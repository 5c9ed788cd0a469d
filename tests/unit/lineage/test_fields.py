"""Fields of records: the right type and form, or an error that names the record's kind and the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lineage import fields
from lineage.errors import RecordError

Read = Callable[[dict[str, Any], str], object]


def stage(record: dict[str, Any], name: str) -> str:
    return fields.one_of(record, name, ("draft", "live"))


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (fields.text, "a", ("", None, 1, b"a", ["a"])),
        (fields.time, 5, (None, "5", 5.0, True)),
        (fields.digest, "0a" * 32, ("", "0A" * 32, "0a" * 31, "0g" * 32, None)),
        (stage, "live", ("shadow", "", None)),
    ],
)
def test_a_field_is_read_or_named(read: Read, good: object, bad: tuple[object, ...]) -> None:
    assert read({"kind": "some.kind", "field": good}, "field") == good
    for record in [{"kind": "some.kind"}, *({"kind": "some.kind", "field": value} for value in bad)]:
        with pytest.raises(RecordError, match=r"some\.kind.*'field'"):
            read(record, "field")


def test_a_text_may_be_allowed_to_be_empty() -> None:
    assert fields.text({"kind": "k"}, "note", empty=True) == ""
    with pytest.raises(RecordError):
        fields.text({"kind": "k", "note": 1}, "note", empty=True)
