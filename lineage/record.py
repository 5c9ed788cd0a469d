"""The record: what one leaf of the log holds, its closed set of kinds and its canonical bytes.

A record is one JSON object of facts, schema version 1. Its bytes are canonical by construction: ASCII keys in
sorted order, integers within ±(2^53 - 1), no floats, no lone surrogates. Under these limits orjson with sorted
keys writes exactly what RFC 8785 (JSON Canonicalization Scheme) prescribes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import orjson

from lineage.chance import sixteen
from lineage.errors import RecordError

SCHEMA_VERSION: Final = 1
MAX_BYTES: Final = 65_535
"""Largest record; an entry bundle (C2SP tlog-tiles) gives each entry a 16-bit length."""
MAX_DEPTH: Final = 8
"""Deepest nesting of objects and arrays in a record."""

KINDS: Final[frozenset[str]] = frozenset(
    {
        "call.intent",
        "call.outcome",
        "call.refused",
        "policy.loaded",
        "policy.rejected",
        "policy.proposed",
        "policy.approved",
        "policy.staged",
        "policy.withdrawn",
        "policy.shadow",
        "policy.server_lost",
        "policy.server_back",
        "tls.list_faults",
        "alert.raised",
        "containment.applied",
        "containment.released",
        "containment.expired",
        "admin.key_created",
        "admin.key_revoked",
        "admin.tenant_erased",
        "admin.account_created",
        "admin.account_changed",
        "admin.signed_in",
        "admin.input_read",
        "admin.sign_in_failed",
        "process.started",
        "process.stopped",
        "process.lost",
        "log.pruned",
        "decision_log.lost",
        "decision_log.back",
    }
)

_OPTIONS: Final = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_STRICT_INTEGER
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)
_STRINGS: Final = frozenset({str})
_CONTAINERS: Final = frozenset({dict, list, tuple})
_SCALARS: Final = frozenset({str, int, bool, type(None)})
_BASE32: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = tuple(high + low for high in _BASE32 for low in _BASE32)


def encode(record: Mapping[str, object]) -> bytes:
    """Return the canonical bytes of a record, at most `MAX_BYTES` long.

    Raises RecordError when the kind is unknown, `v`, `at` (ms since the epoch) or `boot` is missing or of the wrong
    type, or a value has no canonical form; the text names the field and never shows its value.
    """
    if type(record) is not dict:
        raise RecordError("a record is a plain dict")
    kind = record.get("kind")
    if type(kind) is not str or kind not in KINDS:
        raise RecordError("a record needs one of the known kinds in 'kind'")
    if (
        record.get("v") is not SCHEMA_VERSION
        or type(record.get("at")) is not int
        or type(record.get("boot")) is not str
    ):
        raise RecordError("a record needs v=1, at=<ms since the epoch> and boot=<id of the writing process's life>")
    _check_object(record, 1)
    try:
        data = orjson.dumps(record, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise RecordError(f"the {kind} record has no canonical form: {_cause(error)}") from None
    if len(data) > MAX_BYTES:
        raise RecordError(f"the {kind} record has {len(data)} bytes; the log takes {MAX_BYTES}: keep a digest")
    return data


def _check_object(value: Mapping[str, object], depth: int) -> None:
    if not (_STRINGS.issuperset(map(type, value)) and "".join(value).isascii()):
        raise RecordError("a record's keys are ASCII strings")
    if _SCALARS.issuperset(map(type, value.values())):
        return
    for key, item in value.items():
        kind = type(item)
        if kind is str or kind is int:
            continue
        if kind not in _SCALARS and (item or kind not in _CONTAINERS or depth >= MAX_DEPTH):
            _check_nested(key, item, depth)


def _check_nested(key: str, item: object, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise RecordError(f"the record's field {key!r} is nested deeper than {MAX_DEPTH}")
    if type(item) is dict:
        _check_object(item, depth + 1)
    elif type(item) is list or type(item) is tuple:
        for element in item:
            if type(element) not in _SCALARS:
                _check_nested(key, element, depth + 1)
    else:
        raise RecordError(f"the record's field {key!r} is a {type(item).__name__}; a record has no such values")


def _cause(error: Exception) -> str:
    text = str(error)
    if "surrogate" in text:
        return "a string holds a lone surrogate"
    if "53" in text or "64-bit" in text:
        return "an integer is beyond 2^53 - 1"
    return "a value is not JSON"


def decode(data: bytes) -> dict[str, object]:
    """Return the record that `data` holds; RecordError when it is not one JSON object."""
    try:
        record = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise RecordError("the bytes are not a JSON text") from None
    if type(record) is not dict:
        raise RecordError("the bytes are not a JSON object")
    return record


def new_call_id() -> str:
    """Return a fresh id of a call: 26 characters as in a ULID (48 bits of ms since the epoch, 80 random bits).

    Ids of different milliseconds sort by time.
    """
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(sixteen()[:10], "big")
    pairs = _PAIRS
    return (
        pairs[value >> 120]
        + pairs[value >> 110 & 1023]
        + pairs[value >> 100 & 1023]
        + pairs[value >> 90 & 1023]
        + pairs[value >> 80 & 1023]
        + pairs[value >> 70 & 1023]
        + pairs[value >> 60 & 1023]
        + pairs[value >> 50 & 1023]
        + pairs[value >> 40 & 1023]
        + pairs[value >> 30 & 1023]
        + pairs[value >> 20 & 1023]
        + pairs[value >> 10 & 1023]
        + pairs[value & 1023]
    )


def call_time(call: str) -> int:
    """Return when a call id was made, in ms since the epoch; RecordError when it is not a call id."""
    if len(call) != 26 or any(character not in _BASE32 for character in call):
        raise RecordError("a call id has 26 characters of Crockford's base 32")
    value = 0
    for character in call[:10]:
        value = value << 5 | _BASE32.index(character)
    return value
