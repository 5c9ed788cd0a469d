"""Numbers that the embedded engine would round: found before they are compared.

OPA keeps numbers exactly as written, the embedded engine as 64-bit integers and doubles, where 9007199254740993 and
9007199254740992 become equal in comparisons. A document that holds a number which a double cannot hold as
written is not decided upon.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Final

import re2

LARGEST: Final = 2**53

# Found inside strings too, which is harmless: the slow check after it is exact.
_SUSPECT: Final = re2.compile(rb"[:,\[\s]-?[0-9.]{16}|[:,\[\s]-?[0-9.]+[eE]|^\s*-?[0-9]")


def exact(text: str) -> bool:
    """Whether the JSON number `text` means the same number as the double nearest to it, within ±2^53 if whole."""
    written = Decimal(text)
    near = float(text)
    if abs(near) > LARGEST:
        return False
    return Decimal(repr(near)) == written


class _Inexact(Exception):
    pass


def _check(text: str) -> int:
    if not exact(text):
        raise _Inexact
    return 0


def inexact_number(document: bytes) -> str:
    """Say that `document` (JSON text) holds a number which would be rounded; empty when it holds none."""
    if _SUSPECT.search(document) is None:
        return ""
    try:
        json.loads(document, parse_int=_check, parse_float=_check, object_pairs_hook=len)
    except _Inexact:
        return "the input holds a number that cannot be compared exactly (beyond 2^53, or with too many digits)"
    except (ValueError, RecursionError):
        return "the input is not JSON"
    return ""
