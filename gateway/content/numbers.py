"""Payment cards, social security numbers and phone numbers: digits in groups."""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.content.checks import card_network, luhn, us_ssn
from gateway.content.linear import linear
from gateway.content.scanner import WALL, Match

CONTEXT = 48
"""How far before a number a word may stand that says what the number is, in characters."""

_LONGEST_RUN = 2_000
_RUN = linear(rb"[+(]{0,2}\d(?:[ .\-()/]{0,2}\d){5}(?:[ .\-()/]{0,2}\d)*")
_EXTENSION = re.compile(r"[ ]?(?:x|ext\.? ?)\d{1,6}(?![\w@])", re.ASCII)
_GROUP = re.compile(r"\d+")
_OVERLAP = 20
_CARD_SEPARATORS = frozenset(" -.")
_GLUE = frozenset("0123456789_@abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SSN_WORDS = re.compile(r"(?i)\b(?:ssn|social security|soc sec|ss#|social sec)")
_PHONE_WORDS = re.compile(
    r"(?i)\b(?:phone|telephone|tel|mobile|cell|cellular|call|fax|desk|contact|dial|whatsapp|reach|answer(?:ing)?|office|texts?"
    r"|ring|sms|messages?)"
)
_PHONE_AFTER = re.compile(r"(?i)[ \-]{1,2}(?:office|fax|mobile|cell|phone|desk|home|work)\b")
_DATE = re.compile(r"(?:(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d)(?!\d)")
_NANP = re.compile(r"(?:\+?1[ .-]?|001[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}")


class _Run(NamedTuple):
    """Groups of digits with little between them: `text[start:end]`, and the span of each group in the whole text."""

    text: str
    start: int
    end: int
    groups: list[tuple[int, int]]
    digits: int

    def between(self, index: int) -> str:
        """What stands before the group `index`."""
        return self.text[self.groups[index - 1][1] : self.groups[index][0]]


def find(text: str, raw: bytes, start: int) -> list[Match]:
    """Numbers in plain ASCII text (`raw` is the same) that begin at or after `start`."""
    found: list[Match] = []
    position = start
    while (match := _RUN.search(raw, position)) is not None:
        first, position = match.span()
        run = _run(text, first, min(position, first + _LONGEST_RUN))
        if run is None:
            continue
        if position > run.end and len(run.groups) > _OVERLAP:
            position = run.groups[-_OVERLAP][0]
        cards = _cards(run) if run.digits >= 12 else []
        numbers = cards or _ssns(run) or _phones(run)
        found += numbers
    return found


def _run(text: str, start: int, end: int) -> _Run | None:
    """The run without groups that are a part of a word; None when too little is left."""
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    before = text[start - 1] if start else " "
    if before in _GLUE or before == ".":
        groups = groups[1:]
        start = groups[0][0] if groups else end
        if groups and text[start - 1] in "(+":
            start -= 1
    if text[end : end + 1] in _GLUE and _EXTENSION.match(text, end) is None:
        groups = groups[:-1]
        end = groups[-1][1] if groups else start
    digits = sum([last - first for first, last in groups])
    return _Run(text, start, end, groups, digits) if digits >= 6 else None


def _before(text: str, start: int) -> str:
    context = text[max(0, start - CONTEXT) : start]
    return context[context.rfind(WALL) + 1 :]


def _cards(run: _Run) -> list[Match]:
    """Consecutive groups that pass Luhn and belong to a network."""
    found: list[Match] = []
    first, groups = 0, run.groups
    while first < len(groups):
        last = _card_end(run, first)
        if last < 0:
            first += 1
            continue
        usual = last == first or groups[first][1] - groups[first][0] == 4
        found.append(Match("payment_card", groups[first][0], groups[last][1], 95 if usual else 70))
        first = last + 1
    return found


def _card_end(run: _Run, first: int) -> int:
    digits = ""
    for last in range(first, len(run.groups)):
        if last > first and run.between(last) not in _CARD_SEPARATORS:
            return -1
        start, end = run.groups[last]
        digits += run.text[start:end]
        if len(digits) > 19:
            return -1
        if len(digits) >= 12 and digits[0] != "0" and card_network(digits) and luhn(digits):
            return last
    return -1


def _ssns(run: _Run) -> list[Match]:
    """Groups of 3, 2 and 4 digits with the same separator; or nine digits after a word that says so."""
    sizes = [last - first for first, last in run.groups]
    text = run.text
    for index in range(len(sizes) - 2):
        if sizes[index : index + 3] != [3, 2, 4]:
            continue
        start, end = run.groups[index][0], run.groups[index + 2][1]
        separator = run.between(index + 1)
        alone = not (index and run.between(index) == "-") and not (
            index + 3 < len(sizes) and run.between(index + 3) == "-"
        )
        if separator in ("-", " ") and separator == run.between(index + 2) and alone:
            area, group, serial = (text[first:last] for first, last in run.groups[index : index + 3])
            if us_ssn(area + group + serial):
                return [Match("us_ssn", start, end, 85)]
    if sizes == [9] and us_ssn(text[slice(*run.groups[0])]) and _SSN_WORDS.search(_before(text, run.start)):
        return [Match("us_ssn", *run.groups[0], 70)]
    return []


def _phones(run: _Run) -> list[Match]:
    confidence = _phone_confidence(run)
    if not confidence:
        return []
    extension = _EXTENSION.match(run.text, run.end)
    return [Match("phone", run.start, extension.end() if extension else run.end, confidence)]


def _phone_confidence(run: _Run) -> int:
    text, start, end = run.text, run.start, run.end
    if run.digits > 15 or (start and text[start - 1] in "-/_=") or _DATE.match(text, start, end):
        return 0
    if run.digits >= 7 and (text[start] == "+" or _NANP.match(text, start, end)):
        return 85
    if (run.digits >= 7 or len(run.groups) >= 3) and (
        _PHONE_WORDS.search(_before(text, start)) or _PHONE_AFTER.match(text, end)
    ):
        return 75
    return 50 if 8 <= run.digits <= 13 and _spelled(run) and text[end : end + 1] != "=" else 0


def _spelled(run: _Run) -> bool:
    """Whether groups of digits are set as in a phone number, and not as in a large amount or a version."""
    if len(run.groups) < 3:
        return False
    value = run.text[run.start : run.end]
    if "." in value or "/" in value:
        return False
    zero = run.text[run.groups[0][0]] == "0"
    thousands = " " in value and not zero and all(last - first == 3 for first, last in run.groups[1:])
    return not thousands and (" " in value or zero)
