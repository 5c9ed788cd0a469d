"""JSON read so that nobody behind Cordon can read it differently (RFC 8259, RFC 7493)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NoReturn

import orjson

from gateway.content.errors import ContentError

DEPTH = 64
"""Deepest nesting of arrays and objects that is read."""

LARGEST_INTEGER = 2**53

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def parse_strict(raw: bytes) -> tuple[Json, bytes]:
    """The value of a JSON text and its canonical form (compact, same key order); ContentError.

    Refused: anything but UTF-8 JSON, nesting deeper than `DEPTH`, an object with the same key twice (also when only
    the letter case differs), an integer beyond ±2^53, NaN and infinities, lone surrogates.
    """
    value = _load(raw)
    if isinstance(value, dict | list):
        _check_values(value)
    elif type(value) is int:
        _integer(str(value))
    canonical = dump(value)
    # A text that equals its own canonical form cannot hold a key twice or a number that was changed by reading.
    if canonical != raw:
        _check_exactly(raw)
    return value, canonical


def parse_answer(raw: bytes) -> Json:
    """The value of an upstream's JSON; of a key that stands twice, what is inspected is what the client gets.

    ContentError for what is not JSON, or cannot be written again as it was.
    """
    try:
        if _NINETEEN not in raw.translate(_DIGITS_AS_ZERO):
            return _load(raw)
        value: Json = json.loads(raw, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise ContentError("malformed", "the answer is not JSON") from error
    # This reader takes lone surrogates and any integer.
    dump(value)
    return value


def dump(value: Json) -> bytes:
    """Compact JSON; ContentError when the value has no exact form (an integer beyond 64 bits, nesting over 254)."""
    try:
        return orjson.dumps(value)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise ContentError("malformed", "the content has no exact JSON form") from error


_NINETEEN = b"0" * 19
_DIGITS_AS_ZERO = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))


def _load(raw: bytes) -> Json:
    try:
        value: Json = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ContentError("malformed", f"the body is not JSON: {_place(error)}") from error
    return value


def _place(error: json.JSONDecodeError) -> str:
    return f"line {error.lineno}, column {error.colno}"


def _check_exactly(raw: bytes) -> None:
    try:
        json.loads(raw, object_pairs_hook=_pairs, parse_int=_integer, parse_float=_number, parse_constant=_constant)
    except ValueError as error:
        raise ContentError("malformed", "the body is not JSON") from error
    except RecursionError as error:
        raise ContentError("too_deep", f"the body is nested deeper than {DEPTH} levels") from error


def _pairs(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise ContentError("duplicate_key", "an object of the body has the same key twice")


def _integer(text: str) -> int:
    if len(text) > 20 or not -LARGEST_INTEGER <= int(text) <= LARGEST_INTEGER:
        raise ContentError("number", "an integer of the body is beyond 2^53; send it as a string")
    return 0


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ContentError("number", "a number of the body is too large")
    return 0.0


def _constant(text: str) -> NoReturn:
    raise ContentError("number", "NaN and infinities are not JSON")


def _check_values(value: Json) -> None:
    """Depth, integers, and keys that differ in letter case only."""
    level: list[Json] = [value]
    for _ in range(DEPTH):
        below: list[Json] = []
        for item in level:
            children: Iterable[Json]
            if isinstance(item, dict):
                children = item.values()
                # Lower-case ASCII names, as nearly all are, cannot differ in letter case only.
                names = "".join(item)
                if not (names.islower() and names.isascii()) and len({key.casefold() for key in item}) != len(item):
                    raise ContentError("duplicate_key", "two keys of an object differ only in letter case")
            else:
                assert isinstance(item, list)
                children = item
            for child in children:
                kind = child.__class__
                if kind is dict or kind is list:
                    below.append(child)
                elif kind is int and not -LARGEST_INTEGER <= child <= LARGEST_INTEGER:  # type: ignore[operator]
                    raise ContentError("number", "an integer of the body is beyond 2^53; send it as a string")
        if not below:
            return
        level = below
    raise ContentError("too_deep", f"the body is nested deeper than {DEPTH} levels")
