"""Embeddings: lists of numbers, as numbers or as base64 of 32-bit floats, and token numbers in place of text."""

from __future__ import annotations

import binascii
import math
import sys
from array import array

from gateway.content.json_text import Json

_SMALLEST, _LARGEST = 1e-5, 1e4
"""Bounds of a vector's root mean square. Four characters of text, read as a float, are seldom within them."""


def is_vector(text: str) -> bool:
    """Whether a string is base64 of little-endian 32-bit floats that can be an embedding; else it counts as text."""
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return False
    if not raw or len(raw) % 4:
        return False
    numbers = array("f", raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    mean = _root_mean_square(numbers)
    return _SMALLEST <= mean <= _LARGEST


def _root_mean_square(numbers: array[float]) -> float:
    """Not a number where one of them is not finite."""
    return math.sqrt(sum([number * number for number in numbers]) / len(numbers))


def is_embeddings(value: Json) -> bool:
    """Whether a whole answer is a list of embeddings, which has no text."""
    items = value.get("data") if isinstance(value, dict) else None
    return isinstance(items, list) and bool(items) and all(_is_embedding(item) for item in items)


def _is_embedding(item: Json) -> bool:
    if not isinstance(item, dict) or not item.keys() <= {"object", "index", "embedding"}:
        return False
    vector = item.get("embedding")
    if isinstance(vector, str):
        return is_vector(vector)
    return isinstance(vector, list) and all(number.__class__ in (float, int) for number in vector)


def tokens_in(value: Json) -> list[str]:
    """Fields of a request whose text is said in token numbers, which cannot be read."""
    if not isinstance(value, dict):
        return []
    return [name for name in ("input", "prompt") if _holds_number(value.get(name))]


def _holds_number(value: Json) -> bool:
    if not isinstance(value, list):
        return False
    return any(
        item.__class__ in (int, float) or (isinstance(item, list) and any(n.__class__ in (int, float) for n in item))
        for item in value
    )
