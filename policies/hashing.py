"""The hash of a bundle's file as OPA's signatures have it.

Data files and the manifest are hashed over what they say, not over their bytes: objects with sorted keys, no blanks,
and strings and numbers as Go's encoding/json writes them. All other files are hashed byte for byte.
Source: OPA's documentation of bundles, "Signature format".
"""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Final

from policies.datafiles import is_json, read_json, read_yaml
from policies.errors import BundleError, Problem

ALGORITHMS: Final = {"SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}
"""OPA's names of the hashes that are taken; those of its others that are broken (MD5, SHA-1) are not."""

_YAML: Final = ("data.yaml", "data.yml")
_STRUCTURED: Final = ("data.json", ".manifest", *_YAML)
_ESCAPED: Final = re.compile('["\\\\\x00-\x1f\u2028\u2029]')
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class _Literal(str):
    """A number as it is written: OPA hashes `1.0` and `1` differently."""


def hash_file(path: str, content: bytes, algorithm: str = "SHA-256") -> str:
    """The file's hash in hex; BundleError where a data file cannot be read, ValueError for an unknown algorithm."""
    if algorithm not in ALGORITHMS:
        raise ValueError(f"the hash {algorithm[:40]!r} is not taken")
    name = PurePosixPath(path).name
    subject = _canonical(_parsed(path, name, content)).encode() if name in _STRUCTURED else content
    return hashlib.new(ALGORITHMS[algorithm], subject).hexdigest()


def _parsed(path: str, name: str, content: bytes) -> object:
    """The value of a data file; OPA tries JSON first, whatever the name says."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise BundleError([Problem(path, 0, 0, "encoding", "the file is not UTF-8", "save it as UTF-8")]) from None
    if name in _YAML and not is_json(text):
        return read_yaml(path, text)
    read_json(path, text)
    return json.loads(text, parse_int=_Literal, parse_float=_Literal)


def _canonical(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(key)}:{_canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, _Literal):
        return str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, float):
        return _float(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    """As Go's encoding/json writes a string without HTML escapes."""
    return '"' + _ESCAPED.sub(lambda match: _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}", text) + '"'


def _float(value: float) -> str:
    """As Go's encoding/json writes a float64 that a YAML file gave: shortest digits, exponents only far out."""
    exact = Decimal(repr(value))
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        text = f"{exact:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    sign, digits, _ = exact.normalize().as_tuple()
    rest = "".join(map(str, digits[1:]))
    power = exact.adjusted()
    return f"{'-' if sign else ''}{digits[0]}{'.' + rest if rest else ''}e{'+' if power > 0 else '-'}{abs(power)}"
