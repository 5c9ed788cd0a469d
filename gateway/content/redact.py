"""What takes the place of a finding: a mask, nothing, or a keyed hash."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Final

from gateway.content.errors import ContentError
from gateway.content.scanner import Match

MODES: Final = frozenset({"mask", "drop", "hash"})
"""Transforms that are enforced."""

UNCHANGEABLE: Final = frozenset({"unreadable", "too_long", "wrong_shape"})
"""Findings that are about content as a whole: there is no span of text that could be replaced."""

_QUOTES = re.compile(r'\\.|"', re.DOTALL)
_NOISE = re.compile(r"[\s.\-()/]+")
_NUMBERS = frozenset({"phone", "payment_card", "iban", "us_ssn"})


def check_modes(redact: Mapping[str, str]) -> None:
    """Refuse a mapping of finding type → mode that Cordon would not carry out to the letter; ContentError."""
    for kind, mode in redact.items():
        if mode not in MODES:
            raise ContentError(
                "not_enforced", f"redact[{kind!r}] = {mode!r} is not carried out; use one of {', '.join(sorted(MODES))}"
            )
        if kind in UNCHANGEABLE or kind.startswith("blocked_pattern:"):
            raise ContentError(
                "not_enforced", f"a finding of type {kind!r} cannot be redacted; allow it or deny the call"
            )


class Redactor:
    """Replaces findings by `redact` (finding type → mode). `key` makes the hashes: one per tenant, 16 bytes or more."""

    def __init__(self, redact: Mapping[str, str], key: bytes) -> None:
        check_modes(redact)
        self.redact = dict(redact)
        self._key = key

    def add(self, redact: Mapping[str, str]) -> None:
        """Redact further types from here on."""
        check_modes(redact)
        self.redact.update(redact)

    def changes(self, match: Match) -> bool:
        """Whether this finding is to be replaced."""
        return match.type in self.redact

    def replacement(self, match: Match, found: str) -> str:
        """What stands instead of `found`: letters, digits, `[`, `]`, `#` and `_` only, so valid in any quoted text."""
        mode = self.redact[match.type]
        if mode == "drop":
            return ""
        if mode == "mask":
            return mask(match.type)
        return f"[{match.type.upper()}#{self._hash(match.type, found)}]"

    def text(self, text: str, matches: Iterable[Match]) -> str:
        """`text` with its findings (ordered, without overlaps) replaced."""
        parts: list[str] = []
        position = 0
        for match in matches:
            if match.type in self.redact:
                parts.append(text[position : match.start])
                parts.append(self.replacement(match, text[match.start : match.end]))
                position = match.end
        if not parts:
            return text
        parts.append(text[position:])
        return "".join(parts)

    def json_text(self, text: str, matches: Iterable[Match], *, quoted: bool = False) -> str:
        """The same for text that is JSON itself; `quoted`: it begins inside a string of that JSON.

        What is replaced outside of a string is a number (or not JSON): the whole of it becomes a string.
        """
        parts: list[str] = []
        position = 0
        for match in matches:
            if match.type not in self.redact:
                continue
            start, end = match.start, match.end
            quoted = quoted_after(text[position:start], quoted)
            new = self.replacement(match, text[start:end])
            if not quoted:
                start, end = number_span(text, position, start, end)
                new = f'"{new}"'
            parts.append(text[position:start])
            parts.append(new)
            position = end
        parts.append(text[position:])
        return "".join(parts)

    def _hash(self, kind: str, found: str) -> str:
        """12 base32 characters (60 bits) of HMAC-SHA256; separators and letter case do not count."""
        value = found.casefold()
        if kind in _NUMBERS:
            value = _NOISE.sub("", value)
        digest = hmac.digest(self._key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), hashlib.sha256)
        return base64.b32encode(digest)[:12].decode()


def quoted_after(text: str, quoted: bool) -> bool:
    """Whether the end of a piece of JSON text is inside a string, when its beginning was (`quoted`) or was not."""
    for part in _QUOTES.findall(text):
        if part == '"':
            quoted = not quoted
    return quoted


def number_span(text: str, floor: int, start: int, end: int) -> tuple[int, int]:
    """Grow a span, no further left than `floor`, over the number it lies in."""
    while start > floor and text[start - 1] in "+-.0123456789":
        start -= 1
    while end < len(text) and text[end] in "+-.0123456789eE":
        end += 1
    return start, end


def mask(kind: str) -> str:
    """The constant that stands for a finding of that type, such as `[EMAIL]`."""
    return f"[{kind.upper()}]"
