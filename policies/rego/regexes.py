"""Regular expressions and globs as OPA evaluates them: Go's `regexp` is RE2, so RE2 does it here too.

The engine's own are Unicode-wide where Go's are ASCII (`\\w`, `\\d`, `\\s`, `\\b`), which turns verdicts around.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import re2

from policies.rego.checks import text, whole

MAX_PATTERN: Final = 4_096

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 8 << 20


def match(pattern: object, value: object) -> bool:
    """`regex.match`: whether the pattern occurs anywhere."""
    return _compiled(text(pattern)).search(text(value)) is not None


def is_valid(pattern: object) -> bool:
    """`regex.is_valid`."""
    if type(pattern) is not str:
        return False
    try:
        _compiled(text(pattern))
    except re2.error:
        return False
    return True


def find_n(pattern: object, value: object, most: object) -> list[str]:
    """`regex.find_n`: the first matches; a negative number means all."""
    return [found.group() for found in _matches(text(pattern), text(value), whole(most))]


def find_all_string_submatch_n(pattern: object, value: object, most: object) -> list[list[str]]:
    """`regex.find_all_string_submatch_n`: matches with their groups; a group that took no part is empty."""
    found = _matches(text(pattern), text(value), whole(most))
    return [[each.group(), *(group or "" for group in each.groups())] for each in found]


def split(pattern: object, value: object) -> list[str]:
    """`regex.split`, as Go's `Regexp.Split(text, -1)`."""
    expression, source = text(pattern), text(value)
    if expression and not source:
        return [""]
    parts: list[str] = []
    begin = end = 0
    for found in _matches(expression, source, -1):
        end = found.start()
        if found.end() != 0:
            parts.append(source[begin:end])
        begin = found.end()
    if end != len(source):
        parts.append(source[begin:])
    return parts


def replace(value: object, pattern: object, template: object) -> str:
    """`regex.replace`: all matches; `$1` and `${name}` stand for groups, `$$` for a dollar."""
    source, expression, put = text(value), text(pattern), text(template)
    parts: list[str] = []
    at = 0
    for found in _matches(expression, source, -1):
        parts += (source[at : found.start()], _expand(put, found))
        at = found.end()
    parts.append(source[at:])
    return text("".join(parts))


_REFERENCE: Final = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def _expand(template: str, found: re2._Match[str]) -> str:
    def part(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        if name.isascii() and name.isdigit():
            return found.group(int(name)) or "" if int(name) <= len(found.groups()) else ""
        return found.groupdict().get(name) or ""

    return _REFERENCE.sub(part, template)


def _matches(pattern: str, source: str, most: int) -> Iterator[re2._Match[str]]:
    """Successive matches as Go finds them: an empty one directly behind another match does not count."""
    compiled = _compiled(pattern)
    at, last = 0, -1
    while at <= len(source) and most != 0:
        found = compiled.search(source, at)
        if found is None:
            return
        if found.end() > found.start() or found.start() != last:
            yield found
            most -= 1
        last = found.end()
        at = at + 1 if found.end() == at else found.end()


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re2._Regexp[str]:
    if len(pattern) > MAX_PATTERN:
        raise ValueError("the pattern is too long")
    if _ANY_BYTE.search(pattern):
        raise re2.error("\\C is not Go's")
    return re2.compile(pattern, _OPTIONS)


_ANY_BYTE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\C")


def template_match(template: object, value: object, start: object, end: object) -> bool:
    """`regex.template_match`: a whole text, with patterns between delimiters of one character."""
    source, opening, closing = text(template), text(start), text(end)
    if len(opening.encode()) != 1 or len(closing.encode()) != 1:
        raise ValueError("delimiters are of one byte")
    written, at, groups = "^", 0, 0
    for begin, after in _delimited(source, opening, closing):
        written += f"{re2.escape(source[at:begin])}({source[begin + 1 : after - 1]})"
        _compiled(f"^{source[begin + 1 : after - 1]}$")
        at, groups = after, groups + 1
    expression = _compiled(f"{written}{re2.escape(source[at:])}$")
    if expression.groups != groups:
        raise ValueError("a pattern with groups of its own")
    return expression.search(text(value)) is not None


def _delimited(source: str, opening: str, closing: str) -> Iterator[tuple[int, int]]:
    """Where the delimited parts begin and end; delimiters lie within each other in pairs."""
    level = begin = 0
    for place, mark in enumerate(source):
        if mark == opening:
            level += 1
            begin = place if level == 1 else begin
        elif mark == closing:
            level -= 1
            if level == 0:
                yield begin, place + 1
        if level < 0:
            break
    if level:
        raise ValueError("delimiters that are not in pairs")


def glob_match(pattern: object, delimiters: object, value: object) -> bool:
    """`glob.match` for patterns of text, `*` and `**`; the rest of its language is an error here."""
    return _glob(text(pattern), _delimiters(delimiters)).fullmatch(text(value)) is not None


def _delimiters(value: object) -> str:
    """`null` means none and an empty list means a dot, as OPA has it."""
    if value is None:
        return ""
    if type(value) is not list:
        raise TypeError("an array of single characters is expected")
    found = "".join(text(each) for each in value)
    if len(found) != len(value):
        raise ValueError("a delimiter is a single character")
    return found or "."


@lru_cache(maxsize=512)
def _glob(pattern: str, delimiters: str) -> re2._Regexp[str]:
    if len(pattern) > MAX_PATTERN or not plain_glob(pattern):
        raise ValueError("not a glob that is read in one way only")
    some = f"[^{re.escape(delimiters)}]" if delimiters else "(?s:.)"
    return re2.compile("".join(_pieces(pattern, some)), _OPTIONS)


_SET: Final = r"\[(?P<not>!?)(?P<set>[A-Za-z0-9]-[A-Za-z0-9]|[A-Za-z0-9]+)\]"
_GLOB: Final = re.compile(rf"(?P<stars>\*{{1,2}}(?!\*))|(?P<one>\?)|{_SET}|(?P<mark>[{{}},])|(?P<text>\\?.)", re.DOTALL)
_ALTERNATIVES: Final = re.compile(r"(?<!\\)\{[^{}*?\\]*\}")
_PLAIN: Final = re.compile(
    re.sub(r"\?P<\w+>", "?:", rf"(?:\*{{1,2}}(?!\*)|\?|{_SET}|\\[][*?{{}}\\]|[^][*?{{}}\\])*"), re.DOTALL
)


def _pieces(pattern: str, some: str) -> Iterator[str]:
    inside = False
    for found in _GLOB.finditer(pattern):
        if found["stars"]:
            yield (some if len(found["stars"]) == 1 else "(?s:.)") + "*"
        elif found["one"]:
            yield some
        elif found["set"]:
            yield f"[{'^' if found['not'] else ''}{found['set']}]"
        elif found["mark"]:
            inside = found["mark"] == "{" or (inside and found["mark"] == ",")
            yield {"{": "(?:", "}": ")", ",": "|" if inside else ","}[found["mark"]]
        else:
            yield re2.escape(found["text"][-1])


def plain_glob(pattern: str) -> bool:
    """Whether a glob has nothing but text, `*`, `**`, `?`, sets and ranges of letters, and alternatives of texts."""
    bare = _ALTERNATIVES.sub(lambda found: found[0][1:-1], pattern)
    return _PLAIN.fullmatch(bare) is not None


def glob_quote_meta(value: object) -> str:
    """`glob.quote_meta`."""
    return re.sub(r"[*?\\\[\]{}]", lambda found: "\\" + found[0], text(value))
