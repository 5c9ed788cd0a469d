"""Records: their canonical bytes, what is refused, and call ids."""

from __future__ import annotations

import datetime
import enum
import time
import uuid
from dataclasses import dataclass
from typing import Any

import pytest

from lineage.errors import RecordError
from lineage.record import KINDS, MAX_BYTES, call_time, decode, encode, new_call_id

BASE: dict[str, Any] = {"v": 1, "kind": "call.intent", "at": 1_700_000_000_000, "boot": "gateway-0-01J"}


@dataclass
class Point:
    x: int = 1


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


def test_keys_are_sorted_and_nothing_is_spaced() -> None:
    record = {**BASE, "call": "c", "input": {"digest": "d", "bytes": 3}, "reasons": [], "model": None, "final": True}
    assert encode(record) == (
        b'{"at":1700000000000,"boot":"gateway-0-01J","call":"c","final":true,"input":{"bytes":3,"digest":"d"},'
        b'"kind":"call.intent","model":null,"reasons":[],"v":1}'
    )


def test_the_order_of_keys_makes_no_difference() -> None:
    record = {**BASE, "zeta": 1, "alpha": {"b": 1, "a": 2}}
    turned = dict(reversed([*BASE.items(), ("zeta", 1), ("alpha", {"a": 2, "b": 1})]))
    assert encode(record) == encode(turned)


def test_a_tuple_is_an_array() -> None:
    assert encode({**BASE, "roles": ("a", "b")}) == encode({**BASE, "roles": ["a", "b"]})


def test_decoding_gives_the_record_back() -> None:
    record = {**BASE, "summary": 'naïve "quoted"\n\u2028 \U0001f600', "n": -(2**53) + 1}
    assert decode(encode(record)) == record


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_taken(kind: str) -> None:
    assert decode(encode({**BASE, "kind": kind}))["kind"] == kind


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": "call.unheard_of"}, "known kinds"),
        ({"kind": None}, "known kinds"),
        ({"kind": ["call.intent"]}, "known kinds"),
        ({"v": 2}, "v=1"),
        ({"v": True}, "v=1"),
        ({"v": "1"}, "v=1"),
        ({"at": "now"}, "at="),
        ({"at": 1.5}, "at="),
        ({"at": True}, "at="),
        ({"boot": 7}, "boot="),
    ],
)
def test_the_common_fields_are_checked(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecordError, match=complaint):
        encode({**BASE, **change})


@pytest.mark.parametrize("missing", sorted(BASE))
def test_no_common_field_may_be_missing(missing: str) -> None:
    with pytest.raises(RecordError):
        encode({name: value for name, value in BASE.items() if name != missing})


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        float("inf"),
        2**53,
        -(2**53),
        2**64,
        "\ud800",
        "a\udfffb",
        b"bytes",
        {1, 2},
        datetime.datetime.now(tz=datetime.UTC),
        uuid.uuid4(),
        Point(),
        Colour.RED,
        Text("sub"),
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("shape", ["field", "object", "array", "deep"])
def test_a_value_without_a_canonical_form_is_refused_wherever_it_stands(value: object, shape: str) -> None:
    shaped: dict[str, object] = {
        "field": value,
        "object": {"k": value},
        "array": [value],
        "deep": [{"k": [1, {"l": value}]}],
    }
    with pytest.raises(RecordError):
        encode({**BASE, "field": shaped[shape]})


@pytest.mark.parametrize("key", ["é", "\ud800", 1, None, b"k", Text("sub")], ids=repr)
def test_a_key_that_is_not_an_ascii_string_is_refused_at_any_depth(key: Any) -> None:
    for record in ({**BASE, key: 1}, {**BASE, "labels": {key: 1}}, {**BASE, "reasons": [{key: 1}]}):
        with pytest.raises(RecordError):
            encode(record)


def test_a_mapping_that_is_not_a_dict_is_refused() -> None:
    class Sneaky(dict[str, object]):
        pass

    with pytest.raises(RecordError):
        encode(Sneaky(BASE))


@pytest.mark.parametrize("step", [lambda inner: {"k": inner}, lambda inner: [inner]], ids=["objects", "arrays"])
def test_nesting_is_bounded(step: Any) -> None:
    inner: object = 1
    for _ in range(7):
        inner = step(inner)
    encode({**BASE, "field": inner})
    for _ in range(2_000):
        inner = step(inner)
    with pytest.raises(RecordError, match="deeper"):
        encode({**BASE, "field": inner})


def test_a_record_fills_a_leaf_to_the_last_byte_and_no_further() -> None:
    room = MAX_BYTES - len(encode({**BASE, "x": ""}))
    assert len(encode({**BASE, "x": "a" * room})) == MAX_BYTES
    with pytest.raises(RecordError, match="65536 bytes"):
        encode({**BASE, "x": "a" * (room + 1)})


def test_an_error_names_the_field() -> None:
    with pytest.raises(RecordError, match="field 'x' is a float"):
        encode({**BASE, "labels": {"x": [1, 2.5]}})
    with pytest.raises(RecordError, match=r"call\.intent record has no canonical form: an integer"):
        encode({**BASE, "n": 2**60})


def test_an_error_never_shows_a_value() -> None:
    secret = "sk-very-secret"
    for record in ({**BASE, "x": secret + "\ud800"}, {**BASE, "x": [secret, 1.5]}, {**BASE, "kind": secret}):
        with pytest.raises(RecordError) as caught:
            encode(record)
        assert secret not in str(caught.value)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b'"x"', b"{", b"null", b"\xff"])
def test_what_is_not_one_object_is_not_a_record(data: bytes) -> None:
    with pytest.raises(RecordError):
        decode(data)


def test_call_ids_are_unique_sortable_and_tell_their_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_call_id() for _ in range(2_000)]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == 2_000
    assert all(len(call) == 26 and before <= call_time(call) <= after for call in ids)
    times = [call_time(call) for call in ids]
    assert times == sorted(times)
    assert min(ids) >= ids[0][:10]


@pytest.mark.parametrize("call", ["", "0" * 25, "0" * 27, "U" * 26, "01jd" + "0" * 22, "0" * 25 + "\n"])
def test_what_is_not_a_call_id_has_no_time(call: str) -> None:
    with pytest.raises(RecordError):
        call_time(call)
