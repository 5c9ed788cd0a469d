"""Shapes of API keys and other credentials.

Most vendors give their keys a beginning of their own: those are found wherever they stand. Secrets without one are
found as the value of a telling name (`token = …`, `"password": "…"`, `<apiKey>…`), when the value looks generated.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.content.checks import entropy
from gateway.content.linear import linear
from gateway.content.scanner import NAME, Match

PRIVATE_KEY_LIMIT: Final = 3_900
"""Longest body of a PEM private key in characters; RSA with 4,096 bits takes 3,300."""

_SHAPES = (
    r"sk-(?:proj|ant|svcacct|admin|or|lf)-[A-Za-z0-9_-]{20,250}",
    r"sk-[A-Za-z0-9]{20,64}",
    r"gh[pousr]_[A-Za-z0-9]{36,255}",
    r"github_pat_[A-Za-z0-9_]{40,255}",
    r"(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}",
    r"ABSK[A-Za-z0-9+/]{100,300}={0,2}",
    r"bedrock-api-key-[A-Za-z0-9+/=]{16,900}",
    r"xox[a-z]-[A-Za-z0-9-]{10,250}",
    r"xoxe\.xox[bp]-\d-[A-Za-z0-9]{20,250}",
    r"xapp-\d-[A-Za-z0-9-]{10,250}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"GOCSPX-[A-Za-z0-9_-]{28}",
    r"ya29\.[A-Za-z0-9_-]{20,250}",
    r"gl(?:pat|dt|ptt|ft|soat|cbt|imt|agent|oas|rt|ffct|rtr)-[A-Za-z0-9_.=-]{20,300}",
    r"GR1348941[A-Za-z0-9_-]{20,50}",
    r"(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{10,250}",
    r"whsec_[A-Za-z0-9+/=]{24,100}",
    r"eyJ[A-Za-z0-9_-]{14,900}\.eyJ[A-Za-z0-9_-]{14,900}[A-Za-z0-9_-]{0,900}(?:\.[A-Za-z0-9_-]{0,900})?",
    r"ZXlK[A-Za-z0-9+/]{60,900}[A-Za-z0-9+/]{0,900}={0,2}",
    r"(?:hf_|api_org_)[A-Za-z]{34}",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-[A-Za-z0-9_-]{50,250}",
    r"rubygems_[a-f0-9]{48}",
    r"CLOJARS_[a-z0-9]{60}",
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,64}",
    r"SG\.[A-Za-z0-9=_.-]{60,70}",
    r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}",
    r"key-[a-f0-9]{32}",
    r"[a-f0-9]{32}-us\d{1,2}",
    r"hv[sbr]\.[A-Za-z0-9_-]{20,300}",
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9=_-]{60,70}",
    r"AT(?:ATT3|CTT3|BB)[A-Za-z0-9_=-]{20,250}",
    r"sntry[us]_[A-Za-z0-9+/=_-]{40,500}",
    r"fo1_[A-Za-z0-9_-]{43}",
    r"fm[12][ar]?_[A-Za-z0-9+/]{40,600}={0,3}",
    r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}",
    r"dapi[a-f0-9]{32}(?:-\d)?",
    r"do[opr]_v1_[a-f0-9]{64}",
    r"FLW(?:SECK|PUBK)(?:_TEST)?-[A-Za-z0-9]{12,40}(?:-X)?",
    r"glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8}",
    r"glc_[A-Za-z0-9+/]{32,400}={0,2}",
    r"HRKU-AA[A-Za-z0-9_-]{56,64}",
    r"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}",
    r"shippo_(?:live|test)_[a-f0-9]{40}",
    r"lin_(?:api|oauth)_[A-Za-z0-9]{40}",
    r"(?:live|test)_(?:pub_)?[a-f0-9]{31,36}",
    r"tfp_[A-Za-z0-9_.=-]{40,80}",
    r"pnu_[A-Za-z0-9]{36}",
    r"pul-[a-f0-9]{40}",
    r"pscale_(?:pw|tkn|oauth)_[A-Za-z0-9=._-]{32,64}",
    r"sm_(?:aat|sat|pat)_[A-Za-z0-9]{16}",
    r"sgp_(?:[A-Fa-f0-9]{16}_|local_)?[A-Fa-f0-9]{40}",
    r"sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,60}",
    r"EAAA[A-Za-z0-9_+/=-]{22,60}",
    r"NR(?:AK|JS|II|IQ)-[A-Za-z0-9-]{19,64}",
    r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
    r"dp\.(?:pt|st|ct)\.[A-Za-z0-9._-]{30,100}",
    r"LTAI[A-Za-z0-9]{17,21}",
    r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
    r"ops_eyJ[A-Za-z0-9+/]{100,900}={0,2}",
    r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    r"AQVN[A-Za-z0-9_-]{35,38}",
    r"\d{5,16}:A[A-Za-z0-9_-]{34}",
    r"(?:SK|AC)[a-f0-9]{32}",
    r"cordonr?_[A-Za-z0-9_-]{43}",
    r"(?:[a-z]{2,12}_){1,2}(?:pat|secret|token|key|tok)_[A-Za-z0-9]{24,120}",
)
_NAMES = (
    r"passw(?:or)?d|passwd|passphrase|pwd|secret|token|api[ _-]?key|access[ _-]?key|account[ _-]?key|private[ _-]?key"
    r"|auth|credential|client[_-]?id|client[_-]?secret|signing[_-]?key|encryption[_-]?key"
)
_OPERATOR = (
    r"[\"']?\)?[ \t]{0,4}(?:string[ \t]{1,4})?"
    rf"(?:[:?.]{{0,3}}=>?|:{{1,3}}|->|>|[\"'],|{NAME})(?:[ \t]{{0,4}}|\r?\n[ \t]{{0,16}})[\"'`]?"
)
_VALUE = r"[A-Za-z0-9_+/=.~!@#$%^&*:-]{10,512}"
_URL_USER = r"://[A-Za-z0-9._%+-]{0,64}:"
_FLAG = r"--?[a-z][a-z-]{0,30}-(?:key|token|secret|password)[ \t]{1,3}[\"']?"


def _unbounded(pattern: str) -> str:
    """The same with no end to a repetition: it matches wherever the pattern does, with fewer states."""
    return re.sub(r"\{(\d+),\d+\}", r"{\1,}", pattern)


_SHAPE_CANDIDATE = "|".join(_unbounded(shape) for shape in _SHAPES)
PREFILTER: Final = (
    f"PRIVATE KEY|{_SHAPE_CANDIDATE}|(?i:{_NAMES})[A-Za-z0-9_.-]{{0,20}}{_OPERATOR}[A-Za-z0-9_+/=.~!@#$%^&*:-]{{10}}"
    f"|(?i:bearer|basic)[ \\t][A-Za-z0-9_+/=.~-]{{10}}|{_FLAG}|{_URL_USER}[A-Za-z0-9_+=.~!#$%^&*:-]{{6}}"
).encode()
"""Matches wherever one of the shapes may be, and seldom elsewhere."""


_SHAPE = linear((r"(?:^|[^A-Za-z0-9_])(" + "|".join(_SHAPES) + ")").encode())
_VALUES = linear(
    (
        rf"(?:(?i:{_NAMES})[A-Za-z0-9_.-]{{0,20}}{_OPERATOR}|(?i:\b(?:bearer|basic)[ \t]{{1,2}})|{_FLAG})({_VALUE})"
        rf"|{_URL_USER}([A-Za-z0-9_+=.~!#$%^&*:-]{{6,128}})@"
    ).encode()
)
_BODY = r"[A-Za-z0-9+/=:,\\ \r\n-]"
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    rf"{_BODY}{{0,{PRIVATE_KEY_LIMIT}}}?(?:-----END [A-Z0-9 ]{{0,50}}-----|(?!{_BODY})|\Z)"
)
_NESTED = 200
_REPEATED = re.compile(r"(.)\1{5}")
_ADDRESS = re.compile(r"(?:https?://|/|\./)|(?:[A-Za-z0-9_-]+\.)+[A-Za-z]{2,12}(?::\d+)?/?\Z")


def find(text: str, raw: bytes, start: int) -> list[Match]:
    """Credentials in plain ASCII text (`raw` is the same) that begin at or after `start`."""
    found = []
    for match in _SHAPE.finditer(raw, max(0, start - 1)):
        first, last = match.span(1)
        if first >= start and not _REPEATED.search(text, first, last):
            found.append(Match("api_key", first, last, 95))
    if "PRIVATE KEY" in text:
        found += [Match("api_key", *match.span(), 99) for match in _PRIVATE_KEY.finditer(text, start)]
    position, rejected = max(0, start - 64), 0
    while (value := _VALUES.search(raw, position)) is not None:
        # What stands between a user and a host looks like an address's local part, but it is a password.
        in_url = value.start(1) < 0
        first, last = value.span(2 if in_url else 1)
        if first >= start and _generated(text[first:last]):
            found.append(Match("api_key", first, last, 96 if in_url else 70))
            position = last
        else:
            # What is not a secret may hold another assignment; not looked into without end.
            rejected += 1
            position = first if rejected < _NESTED else last
    return found


def _generated(value: str) -> bool:
    """Whether a value looks like a secret and not like a word, a name, an address or a placeholder."""
    digits = sum(map(str.isdigit, value))
    if not digits or (digits == len(value) and digits < 17):
        return False
    return entropy(value) >= 2.8 and not _REPEATED.search(value) and not _ADDRESS.match(value)
