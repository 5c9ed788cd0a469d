"""Payment cards, social security numbers and phone numbers: digits in groups."""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.content.checks import Luhn, card_lengths, us_ssn
from gateway.content.linear import linear
from gateway.content.scanner import WALL, Match

CONTEXT = 48
"""How far before a number a word may stand that says what the number is, in characters."""

_LONGEST_RUN = 2_000
_BEGIN = linear(rb"[+(]{0,2}\d(?:[ .\-()/]{0,2}\d){5}")
_RUN = linear(rb"[+(]{0,2}\d(?:[ .\-()/]{0,2}\d)*")
_EXTENSION = re.compile(r"[ ]?(?:x|ext\.? ?)\d{1,6}(?![\w@])", re.ASCII)
_GROUP = re.compile(r"\d+")
_OVERLAP = 20
_LONGEST_NUMBER = 19
_DIGITS = re.compile(r"\d*")
_SSN_SIZES = [3, 2, 4]
_CARD_SEPARATORS = frozenset(" -.")
_GLUE = frozenset("0123456789_@.")
_GLUE_AFTER = frozenset("0123456789_@")
_SSN_WORDS = re.compile(r"(?i)(?<![a-z])(?:ssns?|social[ _-]?sec(?:urity)?|soc sec|ss#)(?![a-z])")
_PHONE_WORDS = re.compile(
    r"(?i)(?<![a-z])(?:(?:tele|cell|mobile[ _-]?)?phones?|tel|mobile|cell(?:ular)?|fax|msisdn|whatsapp|desk|office"
    r"|contact|call(?:ed|ing|s)?|dial(?:ed|ing)?|reach|answer(?:ing)?|ring|text(?:ed|s)?|sms|messages?)"
    r"(?:[ _-]?(?:no|num|number|nr))?(?![a-z0-9_])"
)
_PHONE_AFTER = re.compile(r"(?i)[ \-]{1,2}(?:office|fax|mobile|cell|phone|desk|home|work)\b")
_DATE = re.compile(r"(?:(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d)(?!\d)")
_NANP = re.compile(
    r"(?<![\w@.=/_-])(?:\+?1[ .-]?|001[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}(?![\d@]|[.-]\d)",
    re.ASCII,
)


class _Run(NamedTuple):
    """Groups of digits with little between them: `text[start:end]`, and the span of each group in the whole text.

    `glued`, `stuck`: a letter stands directly before the first group, or after the last one.
    """

    text: str
    start: int
    end: int
    groups: list[tuple[int, int]]
    glued: bool = False
    stuck: bool = False

    @property
    def digits(self) -> int:
        """How many digits there are in all."""
        return sum([last - first for first, last in self.groups])

    def between(self, index: int) -> str:
        """What stands before the group `index`; nothing before the first."""
        return self.text[self.groups[index - 1][1] : self.groups[index][0]] if index else ""


def find(text: str, raw: bytes, start: int) -> list[Match]:
    """Numbers in plain ASCII text (`raw` is the same) that begin at or after `start`."""
    found: list[Match] = []
    position = start
    while (begin := _BEGIN.search(raw, position)) is not None:
        first = begin.start()
        limit = first + _LONGEST_RUN
        # Not looked at further than it is used: a long row of digits would be gone through again for each part of it.
        match = _RUN.match(raw, first, limit + 3)
        assert match is not None
        position = match.end()
        run = _run(text, first, min(position, limit))
        if position > limit:
            position = _go_on(text, first, limit)
        found += _numbers(run)
    return found


def _go_on(text: str, first: int, limit: int) -> int:
    """Where to look on in a row of digits of which `text[first:limit]` was looked at.

    As many groups before the limit are seen again as a number can have; one of more digits than any number parts what
    is before it from what is behind.
    """
    groups = [match.span() for match in _GROUP.finditer(text, first, limit)]
    # So few groups in so long a row: one of them at least has more digits than any number.
    position = groups[-_OVERLAP][0] if len(groups) > _OVERLAP else first
    position = max([position, *(end for start, end in groups if end - start > _LONGEST_NUMBER)])
    rest = _DIGITS.match(text, position) if text[position - 1].isdigit() else None
    return rest.end() if rest is not None else position


def _numbers(run: _Run) -> list[Match]:
    """Cards first, then social security numbers, then phone numbers in what is left."""
    found: list[Match] = []
    runs = [run]
    for finder, least in ((_cards, 12), (_ssns, 9), (_phones, 6)):
        left: list[_Run] = []
        for part in runs:
            new = finder(part) if part.digits >= least else []
            found += new
            left += _outside(part, new) if new else [part]
        runs = left
    return found


def _outside(run: _Run, found: list[Match]) -> list[_Run]:
    """What is left of a run when these findings, which consist of whole groups, are taken out."""
    parts: list[list[tuple[int, int]]] = [[]]
    for start, end in run.groups:
        if any(match.start <= start and end <= match.end for match in found):
            parts.append([])
        else:
            parts[-1].append((start, end))
    return [_Run(run.text, groups[0][0], groups[-1][1], groups) for groups in parts if groups]


def _run(text: str, start: int, end: int) -> _Run:
    """The run without groups that belong to a word or to another number."""
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    before = text[start - 1] if start else " "
    glued = before.isalpha()
    if groups and groups[0][0] == start and before in _GLUE:
        groups = groups[1:]
        glued = False
    after = text[end : end + 1]
    stuck = after.isalpha() and _EXTENSION.match(text, end) is None
    if groups and after in _GLUE_AFTER:
        groups = groups[:-1]
    if not groups:
        return _Run(text, start, start, groups)
    first = groups[0][0]
    while first > start and text[first - 1] in "+(":
        first -= 1
    return _Run(text, first, groups[-1][1], groups, glued, stuck)


def _before(text: str, start: int) -> str:
    context = text[max(0, start - CONTEXT) : start]
    return context[context.rfind(WALL) + 1 :]


def _cards(run: _Run) -> list[Match]:
    """Consecutive groups that pass Luhn and belong to a network."""
    found: list[Match] = []
    groups = run.groups
    digits = "".join([run.text[start:end] for start, end in groups])
    luhn = Luhn(digits)
    offsets = [0]
    for start, end in groups:
        offsets.append(offsets[-1] + end - start)
    lasts = {offset: index - 1 for index, offset in enumerate(offsets)}
    first = 0
    while first < len(groups):
        offset = offsets[first]
        for size in card_lengths(digits[offset : offset + 4]) if offset + 12 <= len(digits) else ():
            last = lasts.get(offset + size, -1)
            if last >= first and luhn.holds(offset, offset + size) and _is_card(run, first, last):
                found.append(_card(run, first, last))
                first = last
                break
        first += 1
    return found


def _is_card(run: _Run, first: int, last: int) -> bool:
    """Whether the groups are set as on a card, or at least with the same separator throughout."""
    if first == last:
        # The digits behind a decimal point are a fraction.
        return run.between(first) != "."
    separators = {run.between(index) for index in range(first + 1, last + 1)}
    if not separators <= _CARD_SEPARATORS:
        return False
    start = run.groups[first][0]
    return _is_usual(run.groups[first : last + 1]) or (
        len(separators) == 1 and run.text[start - 1 : start] not in ("+", "(")
    )


def _card(run: _Run, first: int, last: int) -> Match:
    groups = run.groups[first : last + 1]
    in_word = (run.glued and first == 0) or (run.stuck and last == len(run.groups) - 1)
    confidence = 60 if in_word else 95 if len(groups) == 1 or _is_usual(groups) else 70
    return Match("payment_card", groups[0][0], groups[-1][1], confidence)


def _is_usual(groups: list[tuple[int, int]]) -> bool:
    """Whether digits are grouped as on a card: by fours (some perhaps run together), 4-6-5 or 4-6-4."""
    sizes = [end - start for start, end in groups]
    return (sizes[0] == 4 and sizes[1] == 6) or all(size % 4 == 0 for size in sizes[:-1])


def _ssns(run: _Run) -> list[Match]:
    """Groups of 3, 2 and 4 digits with the same separator; or nine digits after a word that says so."""
    sizes = [last - first for first, last in run.groups]
    text = run.text
    found: list[Match] = []
    for index in range(len(sizes) - 2):
        if sizes[index : index + 3] != _SSN_SIZES:
            continue
        separator = run.between(index + 1)
        after = run.between(index + 3) if index + 3 < len(sizes) else ""
        if separator not in ("-", " ") or separator != run.between(index + 2) or "-" in (run.between(index), after):
            continue
        area, group, serial = (text[first:last] for first, last in run.groups[index : index + 3])
        if us_ssn(area + group + serial):
            in_word = (run.glued and index == 0) or (run.stuck and index + 3 == len(sizes))
            confidence = 60 if in_word else 85
            found.append(Match("us_ssn", run.groups[index][0], run.groups[index + 2][1], confidence))
    if sizes == [9] and us_ssn(text[slice(*run.groups[0])]) and _SSN_WORDS.search(_before(text, run.start)):
        found.append(Match("us_ssn", *run.groups[0], 70))
    return found


def _phones(run: _Run) -> list[Match]:
    text = run.text
    found = [
        Match("phone", match.start(), _with_extension(text, match.end()), 85)
        for match in _NANP.finditer(text, run.start, run.end)
    ]
    if not found and not run.glued and text[run.start] == "+":
        end = _international(run)
        found = [Match("phone", run.start, _with_extension(text, end), 85)] if end else []
    if found:
        for rest in _outside(run, found):
            found += _phones(rest)
        return found
    confidence = 0 if run.glued or run.stuck else _confidence(run)
    return [Match("phone", run.start, _with_extension(text, run.end), confidence)] if confidence else []


def _with_extension(text: str, end: int) -> int:
    extension = _EXTENSION.match(text, end)
    return extension.end() if extension else end


def _international(run: _Run) -> int:
    """Where the longest number of 7 to 15 digits (E.164) ends that begins with the run; 0 where there is none."""
    digits = found = 0
    for start, end in run.groups:
        digits += end - start
        if 7 <= digits <= 15:
            found = end
    return found


def _confidence(run: _Run) -> int:
    text, start, end = run.text, run.start, run.end
    if run.digits > 15 or (start and text[start - 1] in "-/_=") or _DATE.match(text, start, end):
        return 0
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
    sizes = [last - first for first, last in run.groups]
    if sizes == _SSN_SIZES:
        return False
    zero = run.text[run.groups[0][0]] == "0"
    thousands = " " in value and not zero and all(size == 3 for size in sizes[1:])
    return not thousands and (" " in value or zero)
