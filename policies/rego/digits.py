"""How numbers are written, where that can be seen: 1 and 1.0 are one number here, while OPA keeps what it was given.

It shows in texts that are made of numbers within arrays and objects (`json.marshal`, `sprintf`, template strings).
Where the document, the data or an unmarshalled text has a whole number that is written otherwise, such texts are an
error, and an error denies. In rules such a number is refused by admission.
"""

from __future__ import annotations

import json
import threading
from typing import Final

import re2

# Found inside strings too, which is harmless: the slow check after it is exact.
_SUSPECT: Final = re2.compile(rb"[0-9]\.0+(?:[,\]}\s]|$)|[0-9][eE][-+]?[0-9]|(?:^|[:,\[\s])-0(?:[,\]}\s]|$)")


class _Written(threading.local):
    """Of the evaluation that goes on in this thread."""

    otherwise = False


WRITTEN: Final = _Written()


class _Otherwise(Exception):
    pass


def is_plain(text: str) -> bool:
    """Whether a number is written as it is printed anywhere: no whole one with a point, an exponent or as -0."""
    if text.lstrip("-").isdigit():
        return text != "-0"
    return not float(text).is_integer() and "e" not in text.lower()


def written_otherwise(document: bytes) -> bool:
    """Whether JSON text holds a number that is written otherwise than it is kept here, as far as it can be read."""
    if _SUSPECT.search(document) is None:
        return False
    try:
        json.loads(document, parse_int=_check, parse_float=_check, object_pairs_hook=len)
    except (_Otherwise, ValueError, RecursionError):  # what is no JSON is told apart by the engine
        return True
    return False


def _check(text: str) -> int:
    if not is_plain(text):
        raise _Otherwise
    return 0
