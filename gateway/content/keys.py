"""Shapes of API keys and other credentials.

Each shape is a literal beginning that the vendor documents, so that one pass of a multi-pattern engine finds
candidates, and a bounded body. Secrets without such a beginning are found as assignments to a telling name.
"""

from __future__ import annotations

import re

from gateway.content.checks import entropy
from gateway.content.scanner import NAME, Match

PRIVATE_KEY_LIMIT = 3_900
"""Longest body of a PEM private key in characters; RSA with 4,096 bits takes 3,300."""

_EDGE = r"(?<![A-Za-z0-9_])"
_SHAPES = (
    r"sk-(?:[A-Za-z0-9]+-){0,3}[A-Za-z0-9_-]{20,200}",
    r"gh[pousr]_[A-Za-z0-9]{36,255}",
    r"github_pat_[A-Za-z0-9_]{40,255}",
    r"(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}",
    r"xox[a-z]-[A-Za-z0-9-]{10,250}",
    r"xapp-\d-[A-Za-z0-9-]{10,250}",
    r"xoxe\.xox[bp]-\d-[A-Za-z0-9]{20,250}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"gl(?:pat|dt|ptt|ft|soat|cbt|imt|agent|oas|rt|ffct|rtr)-[A-Za-z0-9_.=-]{20,300}",
    r"(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{10,250}",
    r"(?<!-)eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,2000}(?:\.[A-Za-z0-9_-]{0,1000})?",
    r"hf_[A-Za-z0-9]{30,60}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{50,250}",
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}",
    r"hv[sb]\.[A-Za-z0-9_-]{20,300}",
    r"cordonr?_[A-Za-z0-9_-]{43}",
)
_SHAPE = re.compile(_EDGE + "(?:" + "|".join(_SHAPES) + ")")
_BODY = r"[A-Za-z0-9+/=:,\\ \r\n-]"
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rf"{_BODY}{{0,{PRIVATE_KEY_LIMIT}}}?(?:-----END [A-Z0-9 ]{{0,50}}-----|(?!{_BODY})|\Z)"
)
_NAMES = (
    r"passw(?:or)?d|passphrase|pwd|secret|token|api[ _-]?key|access[ _-]?key|private[ _-]?key|auth|credential"
    r"|client[_-]?id"
)
_ASSIGNMENT = re.compile(
    rf"(?i)(?:(?:{_NAMES})[\w.-]{{0,20}}[\"']?(?:[ \t]?(?:=>|:=|->|[=:>]){{1,2}}|{NAME})|bearer)[ \t]?[\"'`]?"
    r"([A-Za-z0-9_+/=.~!@#$%^&*-]{10,150})(?![A-Za-z0-9_+/=~-])"
)
_BASIC = re.compile(r"(?i)\bbasic ([A-Za-z0-9+/]{16,200}={0,2})")

PREFILTER = (
    rb"sk-|gh[pousr]_|github_pat_|A[SKBC3][TIC][A-Z0-9]|xox|xapp-|AIza|gl[a-z]{2,5}-|(?:sk|rk|pk)_(?:live|test|prod)_"
    rb"|eyJ|hf_|npm_|pypi-|SG\.|hv[sb]\.|cordonr?_|PRIVATE KEY"
    rb"|(?i:" + _NAMES.encode() + rb")[A-Za-z0-9_.-]{0,20}[\"']?[ \t]?[=:>\x1d-]|(?i:bearer|basic) "
)
"""Matches wherever one of the shapes may be, and seldom elsewhere."""


def find(text: str, start: int) -> list[Match]:
    """Credentials in plain ASCII `text` that begin at or after `start`."""
    found = [Match("api_key", *match.span(), 95) for match in _SHAPE.finditer(text, start)]
    if "PRIVATE KEY" in text:
        found += [Match("api_key", *match.span(), 99) for match in _PRIVATE_KEY.finditer(text, start)]
    for match in _ASSIGNMENT.finditer(text, max(0, start - 48)):
        if match.start(1) >= start and _random(match[1]):
            found.append(Match("api_key", *match.span(1), 70))
    for match in _BASIC.finditer(text, max(0, start - 8)):
        if match.start(1) >= start and _random(match[1]):
            found.append(Match("api_key", *match.span(1), 70))
    return found


def _random(value: str) -> bool:
    """Whether a value looks generated: digits and letters mixed, and many different ones."""
    return any(char.isdigit() for char in value) and any(char.isalpha() for char in value) and entropy(value) >= 3.0
