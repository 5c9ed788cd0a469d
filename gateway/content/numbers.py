"""Payment cards, social security numbers and phone numbers: digits in groups."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.content.checks import card_network, luhn, us_ssn
from gateway.content.scanner import WALL, Match

CONTEXT = 48
"""How far before a number a word may stand that says what the number is, in characters."""

_RUN = re.compile(r"(?<![\w.@])[+(]{0,2}\d(?:[ .\-()/]{0,2}\d){5,63}(?:[ ]?(?:x|ext\.? ?)\d{1,6})?(?![\w@])", re.ASCII)
_GROUP = re.compile(r"\d+")
_SSN = re.compile(r"(?<![\d-])(\d{3})([- ])(\d{2})\2(\d{4})(?![\d]|-\d)")
_SSN_WORDS = re.compile(r"(?i)\b(?:ssn|social security|soc sec|ss#|social sec)")
_PHONE_WORDS = re.compile(
    r"(?i)\b(?:phone|telephone|tel|mobile|cell|cellular|call|fax|desk|contact|dial|whatsapp|reach|answer(?:ing)?|office|texts?"
    r"|ring|sms|messages?)"
)
_PHONE_AFTER = re.compile(r"(?i)[ \-]{1,2}(?:office|fax|mobile|cell|phone|desk|home|work)\b")
_DATE = re.compile(r"(?:(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d)(?!\d)")
_NANP = re.compile(r"(?:\+?1[ .-]?|001[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}")


def find(text: str, raw: bytes, start: int) -> list[Match]:
    """Numbers in plain ASCII `text` that begin at or after `start`."""
    found: list[Match] = []
    for run in _RUN.finditer(text, start):
        cards = list(_cards(run.group(), run.start()))
        found += cards
        if cards:
            continue
        ssns = list(_ssns(text, run))
        found += ssns
        if not ssns:
            found += _phones(text, run)
    return found


def _before(text: str, start: int) -> str:
    context = text[max(0, start - CONTEXT) : start]
    return context[context.rfind(WALL) + 1 :]


def _cards(run: str, base: int) -> Iterator[Match]:
    """Consecutive groups that pass Luhn and belong to a network."""
    groups = [match.span() for match in _GROUP.finditer(run)]
    first = 0
    while first < len(groups):
        last = _card_end(run, groups, first)
        if last is None:
            first += 1
            continue
        plain = last == first
        usual = plain or groups[first][1] - groups[first][0] == 4
        yield Match("payment_card", base + groups[first][0], base + groups[last][1], 95 if usual else 70)
        first = last + 1


def _card_end(run: str, groups: list[tuple[int, int]], first: int) -> int | None:
    digits = ""
    for last in range(first, len(groups)):
        start, end = groups[last]
        if last > first:
            between = run[groups[last - 1][1] : start]
            if len(between) != 1 or between in "()/":
                return None
        digits += run[start:end]
        if len(digits) > 19:
            return None
        if len(digits) >= 12 and digits[0] != "0" and card_network(digits) and luhn(digits):
            return last
    return None


def _ssns(text: str, run: re.Match[str]) -> Iterator[Match]:
    for match in _SSN.finditer(text, run.start(), run.end()):
        if us_ssn(match[1] + match[3] + match[4]):
            yield Match("us_ssn", match.start(), match.end(), 85)
            return
    plain = run.group()
    if len(plain) == 9 and plain.isdigit() and us_ssn(plain) and _SSN_WORDS.search(_before(text, run.start())):
        yield Match("us_ssn", run.start(), run.end(), 70)


def _phones(text: str, run: re.Match[str]) -> Iterator[Match]:
    value = run.group()
    start, end = run.span()
    confidence = _phone_confidence(text, value, start, end)
    if confidence:
        yield Match("phone", start, end, confidence)


def _phone_confidence(text: str, value: str, start: int, end: int) -> int:
    groups = _GROUP.findall(value.partition("x")[0].partition("e")[0])
    digits = sum(map(len, groups))
    if not 6 <= digits <= 15 or _DATE.match(value) or text[max(0, start - 1) : start] in ("-", "/", "_", "="):
        return 0
    if digits >= 7 and (value[0] == "+" or _NANP.match(value)):
        return 85
    if (digits >= 7 or len(groups) >= 3) and (
        _PHONE_WORDS.search(_before(text, start)) or _PHONE_AFTER.match(text, end)
    ):
        return 75
    return 50 if 8 <= digits <= 13 and _spelled(value, groups) and text[end : end + 1] != "=" else 0


def _spelled(value: str, groups: list[str]) -> bool:
    """Whether groups of digits are set as in a phone number, and not as in a large amount or a version."""
    if len(groups) < 3 or "." in value or "/" in value:
        return False
    thousands = " " in value and groups[0][0] != "0" and all(len(group) == 3 for group in groups[1:])
    return not thousands and (" " in value or groups[0][0] == "0")
