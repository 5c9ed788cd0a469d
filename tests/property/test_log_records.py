"""The canonical bytes of a record are those of RFC 8785, for every record that is taken."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from lineage.errors import RecordError
from lineage.record import decode, encode

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(exclude_categories=["Cs"]))
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
BASE = {"v": 1, "kind": "call.intent", "at": 1, "boot": "b"}


def rfc8785(value: object) -> bytes:
    """JSON Canonicalization Scheme without floats (RFC 8785 sections 3.2.1 to 3.2.3), by the standard library.

    Its writer escapes what section 3.2.2.2 says and no more; keys are sorted as arrays of UTF-16 code units.
    """
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda item: item[0].encode("utf-16-be"))
        return b"{" + b",".join(rfc8785(key) + b":" + rfc8785(item) for key, item in items) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(rfc8785(item) for item in value) + b"]"
    return json.dumps(value, ensure_ascii=False).encode()


def depth(value: object) -> int:
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_encoding_is_rfc_8785(facts: dict[str, object]) -> None:
    record = {**facts, **BASE}
    if depth(record) <= 8:
        assert encode(record) == rfc8785(record)
        assert decode(encode(record)) == record
        assert encode(decode(encode(record))) == encode(record)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_encoding_takes_or_refuses_and_never_fails_otherwise(facts: dict[str, object]) -> None:
    with contextlib.suppress(RecordError):
        encode(facts)


@given(st.binary(max_size=200))
def test_decoding_takes_or_refuses_any_bytes(data: bytes) -> None:
    with contextlib.suppress(RecordError):
        decode(data)
