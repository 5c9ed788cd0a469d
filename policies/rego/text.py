"""Text builtins as OPA does them: counted and cased by code point, bounded in what they produce."""

from __future__ import annotations

import re
from typing import Final

from policies.rego.checks import MAX_TEXT, text, whole


def lower(value: object) -> str:
    """`lower`: Go's mapping of one rune to one; Python's own maps some to several."""
    source = text(value)
    return source.lower() if source.isascii() else "".join(map(_lower_rune, source))


def upper(value: object) -> str:
    """`upper`: Go's mapping of one rune to one."""
    source = text(value)
    return source.upper() if source.isascii() else "".join(map(_upper_rune, source))


def _lower_rune(rune: str) -> str:
    return rune if rune in _CASED_LATER else rune.lower()[0]


def _upper_rune(rune: str) -> str:
    """Where the full mapping has several runes, the title case may still be one."""
    if rune in _CASED_LATER:
        return rune
    for mapped in (rune.upper(), rune.title()):
        if len(mapped) == 1:
            return mapped
    return rune


# Letters that got a partner in Unicode 16, which Python 3.14 knows and OPA does not.
_CASED_LATER: Final = frozenset(
    map(chr, (0x19B, 0x264, 0x1C89, 0x1C8A, *range(0xA7CB, 0xA7CE), *range(0xA7DA, 0xA7DD), *range(0x10D50, 0x10D86)))
)


def length(value: object) -> int:
    """How many code points a text has, which is what `count` says of a string."""
    return len(text(value))


def indexof(value: object, part: object) -> int:
    """`indexof`: position in code points, -1 if not there; looking for nothing is an error."""
    return text(value).find(_something(part))


def indexof_n(value: object, part: object) -> list[int]:
    """`indexof_n`: all positions, overlapping ones too; looking for nothing is an error."""
    source, wanted = text(value), _something(part)
    found = []
    at = source.find(wanted)
    while at >= 0:
        found.append(at)
        at = source.find(wanted, at + 1)
    return found


def substring(value: object, start: object, count: object) -> str:
    """`substring`: by code points; a negative count takes the rest."""
    source, first, most = text(value), whole(start), whole(count)
    if first < 0:
        raise ValueError("the offset is negative")
    return source[first:] if most < 0 else source[first : first + most]


def strings_count(value: object, part: object) -> int:
    """`strings.count`: occurrences that do not overlap; of nothing, one more than there are code points."""
    return text(value).count(text(part))


def split_n(value: object, part: object, most: object) -> list[str]:
    """`strings.split_n`: the first pieces, or, counted by a negative number, the last."""
    source, cut, count = text(value), text(part), whole(most)
    pieces = source.split(cut) if cut else list(source)
    return pieces[:count] if count >= 0 else pieces[max(0, len(pieces) + count) :]


def replace(value: object, old: object, new: object) -> str:
    """`replace`: all occurrences. Looking for nothing is an error: OPA then cuts between bytes."""
    source, wanted, put = text(value), _something(old), text(new)
    if len(source) + source.count(wanted) * len(put) > MAX_TEXT:
        raise ValueError("the result is too long")
    return source.replace(wanted, put)


def replace_n(pairs: object, value: object) -> str:
    """`strings.replace_n`: one pass from the left, at each place the first of the sorted keys that fits."""
    source = text(value)
    if type(pairs) is not dict:
        raise TypeError("an object is expected")
    table = {_something(old): text(new) for old, new in sorted(pairs.items())}
    if not table:
        return source
    pattern = re.compile("|".join(map(re.escape, table)))
    if sum(len(table[old]) for old in pattern.findall(source)) + len(source) > MAX_TEXT:
        raise ValueError("the result is too long")
    return pattern.sub(lambda match: table[match[0]], source)


def _something(value: object) -> str:
    if not value:
        raise ValueError("there is nothing to look for")
    return text(value)
