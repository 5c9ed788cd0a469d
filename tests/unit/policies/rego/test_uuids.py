"""UUIDs, held against the standard library's reading of RFC 4122."""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from policies.rego.uuids import parse


@given(st.sampled_from((3, 4, 5)).flatmap(lambda version: st.uuids(version=version)))
def test_all_forms_say_the_same(value: uuid.UUID) -> None:
    forms = [str(value), value.hex, value.urn, f"{{{value}}}", str(value).upper()]
    found = [parse(form) for form in forms]
    assert all(each == found[0] for each in found)
    assert found[0] is not None
    assert found[0]["version"] == value.int >> 76 & 0xF


def test_the_time_of_version_1_counts_from_1970() -> None:
    name_space = uuid.NAMESPACE_DNS
    found: Any = parse(str(name_space))
    assert found["time"] == (name_space.time - 0x01B21DD213814000) * 100
    assert found["variant"] == "RFC4122"


@given(st.text(max_size=40))
def test_what_is_none_has_no_parts(written: str) -> None:
    if len(written.encode()) not in (32, 36, 38, 45):
        assert parse(written) is None
