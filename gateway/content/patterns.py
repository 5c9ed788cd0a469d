"""Cordon's own scanner: one pass of google-re2 says which kinds may be there; only those are looked for and checked.

A clean kilobyte costs about 3 µs. What the pass flags is verified by arithmetic (Luhn, mod 97, address syntax) and by
words that stand before it.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.content import breaks, keys, numbers
from gateway.content.checks import iban, iban_length, ip
from gateway.content.linear import any_of, linear
from gateway.content.normalise import DISGUISED, plain_bytes, undisguise
from gateway.content.scanner import Match, merge

TYPES: Final = ("email", "phone", "payment_card", "iban", "us_ssn", "ip_address", "api_key")

_SHORT = 64
_WORDS = re.compile(r"(?:[A-Za-zÀ-ÖØ-öø-ÿ]{0,15}[ ,.;!?'()\n])*[A-Za-zÀ-ÖØ-öø-ÿ]{0,15}")
"""Words as most pieces of a stream are: every finding has a digit, one of `@:-`, or more letters in a row."""

_LOCAL_BACKWARDS = re.compile(r"[A-Za-z0-9_%+'-](?:[A-Za-z0-9._%+'-]{0,62}[A-Za-z0-9_%+-])?")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z][A-Za-z0-9-]{0,22}[A-Za-z]")
_IBAN = linear(rb"(?:^|[^A-Za-z0-9])([A-Za-z]{2}\d{2})[ -]?[A-Za-z0-9]")
_IPV4 = linear(rb"(?:\d{1,3}\.){3}\d{1,3}")
_IPV6 = linear(rb"(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{1,4})?")
_LONGEST_IBAN = 34 * 2
_BEFORE_IPV4 = re.compile(r"[\w.]|(?<=[A-Za-z0-9])-", re.ASCII)
_AFTER_IPV4 = re.compile(r"\w|\.\d", re.ASCII)
_BESIDE_IPV6 = re.compile(r"[\w:]", re.ASCII)


class PatternScanner:
    """The scanner over `TYPES`; holds no state between calls."""

    reach = breaks.REACH

    def __init__(self) -> None:
        self._candidates = any_of((*[prefilter for prefilter, _ in _KINDS], DISGUISED)).Match

    def scan(self, text: str, start: int = 0) -> list[Match]:
        """See `Scanner.scan`."""
        if len(text) - start < _SHORT and _WORDS.fullmatch(text, start):
            return []
        raw = text.encode() if text.isascii() else plain_bytes(text)
        kinds = self._candidates(raw)
        if not kinds:
            return []
        if len(_KINDS) in kinds or len(raw) != len(text):
            return self._scan_disguised(text, start)
        return self._find(text if text.isascii() else raw.decode(), raw, kinds, start)

    def _scan_disguised(self, text: str, start: int) -> list[Match]:
        plain = undisguise(text)
        raw = plain.text.encode()
        kinds = self._candidates(raw)
        if not kinds:
            return []
        begin = next((index for index, origin in enumerate(plain.starts) if origin >= start), len(plain.starts))
        return [
            Match(match.type, *plain.original(match.start, match.end), match.confidence)
            for match in self._find(plain.text, raw, kinds, begin)
        ]

    @staticmethod
    def _find(text: str, raw: bytes, kinds: list[int], start: int) -> list[Match]:
        found: list[Match] = []
        for kind in kinds:
            if kind < len(_KINDS):
                found += _KINDS[kind][1](text, raw, start)
        return merge(found) if len(found) > 1 else found

    def settled(self, text: str, start: int, seen: int) -> int:
        """See `Scanner.settled`."""
        return breaks.last_break(text, start, seen)


def _emails(text: str, raw: bytes, start: int) -> list[Match]:
    found = []
    at = text.find("@", start)
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        if domain is not None:
            local = _LOCAL_BACKWARDS.match(text[max(start, at - 64) : at][::-1])
            if local is not None:
                found.append(Match("email", at - local.end(), domain.end(), 95))
        at = text.find("@", at + 1)
    return found


def _ibans(text: str, raw: bytes, start: int) -> list[Match]:
    found = []
    for match in _IBAN.finditer(raw, max(0, start - 1)):
        first = match.start(1)
        size = _iban_size(text[first : first + _LONGEST_IBAN])
        if size and first >= start:
            found.append(Match("iban", first, first + size, 99))
    return found


def _iban_size(candidate: str) -> int:
    """Length, separators included, of the IBAN that `candidate` begins with; 0 where there is none."""
    size = iban_length(candidate[:2].upper())
    compact = ""
    separated = False
    for position, char in enumerate(candidate):
        if char.isalnum():
            compact += char
            separated = False
            if len(compact) == size:
                # Words of small letters between blanks are never part of a number (see `breaks`).
                spelled = " " in candidate[:position] and not compact.isupper()
                return position + 1 if not spelled and iban(compact.upper()) else 0
        elif separated or char not in " -":
            return 0
        else:
            separated = True
    return 0


def _ipv4(text: str, raw: bytes, start: int) -> list[Match]:
    found = []
    for match in _IPV4.finditer(raw, start):
        first, last = match.span()
        beside = (first and _BEFORE_IPV4.match(text, first - 1)) or _AFTER_IPV4.match(text, last)
        if not beside and ip(text[first:last]):
            found.append(Match("ip_address", first, last, 90))
    return found


def _ipv6(text: str, raw: bytes, start: int) -> list[Match]:
    found = []
    for match in _IPV6.finditer(raw, start):
        first, last = match.span()
        beside = (first and _BESIDE_IPV6.match(text, first - 1)) or _BESIDE_IPV6.match(text, last)
        if last - first > 4 and not beside and ip(text[first:last]):
            found.append(Match("ip_address", first, last, 90))
    return found


_KINDS: Final = (
    (rb"[A-Za-z0-9_%+'-]@[A-Za-z0-9]", _emails),
    (rb"\d(?:[ .\-()/]{0,2}\d){5}", numbers.find),
    (rb"[A-Za-z]{2}\d{2}[ -]?[A-Za-z0-9]{1,4}[ -]?[A-Za-z0-9]", _ibans),
    (rb"\d\.\d{1,3}\.\d{1,3}\.\d", _ipv4),
    (rb"[0-9A-Fa-f]?:[0-9A-Fa-f]{0,4}:", _ipv6),
    (keys.PREFILTER, keys.find),
)
"""What the one pass looks for, and who looks closer where it was seen."""
