"""What takes the place of a finding: a mask, nothing, a keyed hash, or a token; and of a token: its value."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from gateway.content.errors import ContentError
from gateway.content.scanner import Match, Scanner
from gateway.content.tokens import RESTORE, Issuer, Restorer, unescaped

MODES: Final = frozenset({"mask", "drop", "hash"})
"""Transforms that are enforced wherever something is redacted; `tokenise` is one more, in requests."""

UNCHANGEABLE: Final = frozenset({"unreadable", "too_long", "wrong_shape"})
"""Findings that are about content as a whole: there is no span of text that could be replaced."""

LONGEST_MODEL: Final = 128
"""Characters of a model's name that policy and records are shown."""

_BLOCKED: Final = "blocked_pattern:"
_QUOTES = re.compile(r'\\.|"', re.DOTALL)
_NOISE = re.compile(r"[\s.\-()/]+")
_NUMBERS = frozenset({"phone", "payment_card", "iban", "us_ssn"})


def check_modes(redact: Mapping[str, str], *, tokens: bool = False) -> None:
    """Refuse a mapping of finding type → mode that Cordon would not carry out to the letter; ContentError.

    `tokens`: whether there is somebody to issue them.
    """
    if MODES.issuperset(redact.values()) and UNCHANGEABLE.isdisjoint(redact) and _BLOCKED not in "\n".join(redact):
        return
    for kind, mode in redact.items():
        if mode not in MODES and not (tokens and mode == "tokenise"):
            raise ContentError(
                "not_enforced", f"redact[{kind!r}] = {mode!r} is not carried out; use one of {', '.join(sorted(MODES))}"
            )
        if kind in UNCHANGEABLE or kind.startswith(_BLOCKED):
            raise ContentError(
                "not_enforced", f"a finding of type {kind!r} cannot be redacted; allow it or deny the call"
            )


class Redactor:
    """Replaces findings by `redact` (finding type → mode). `key` makes the hashes: one per tenant, 16 bytes or more.

    `issuer` gives out the tokens of a request; `restorer` puts an answer's tokens back (matches of type `RESTORE`).
    """

    def __init__(
        self, redact: Mapping[str, str], key: bytes, issuer: Issuer | None = None, restorer: Restorer | None = None
    ) -> None:
        check_modes(redact, tokens=issuer is not None)
        self.redact = dict(redact)
        self.restorer = restorer
        self._key = key
        self._issuer = issuer
        if restorer is not None:
            self.redact[RESTORE] = RESTORE

    def add(self, redact: Mapping[str, str]) -> None:
        """Redact further types from here on."""
        check_modes(redact)
        self.redact.update(redact)

    def changes(self, match: Match) -> bool:
        """Whether this finding is to be replaced."""
        return match.type in self.redact

    def replacement(self, match: Match, found: str, *, is_json: bool = False) -> str:
        """What stands instead of `found`: letters, digits, `[`, `]`, `#` and `_` only, so valid in any quoted text.

        Only a value that is restored may be anything; it is escaped where the text around it `is_json`.
        """
        mode = self.redact[match.type]
        if mode == "drop":
            return ""
        if self.restorer is not None and mode == RESTORE:
            return self.restorer.restored(found, is_json=is_json)
        if self._issuer is not None and mode == "tokenise":
            # A token stands for what the text means, so that it is the same inside of JSON text and outside.
            value = unescaped(found) if is_json else found
            return mask(match.type) if value is None else self._issuer.token(match.type, value)
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
            new = self.replacement(match, text[start:end], is_json=True)
            if not quoted:
                if match.type != RESTORE:
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


def shown_model(model: str, scanner: Scanner) -> str:
    """The name of a model as policy and records have it: cut, and a mask where something is found in it."""
    if len(model) > LONGEST_MODEL:
        return mask("model") if scanner.scan(model) else model[:LONGEST_MODEL]
    return _shown_model(model, scanner)


@lru_cache(maxsize=256)
def _shown_model(model: str, scanner: Scanner) -> str:
    """Every answer says its model's name, and there are few."""
    return mask("model") if scanner.scan(model) else model
