"""Text as the scanner sees it: plain ASCII, with a way back to the offsets of the original.

Simple disguises are undone: full-width and other digits, Unicode dashes and spaces, invisible characters inside a
number, letters with marks, and the escapes of the formats text is nested in (JSON `\\u0040`, URL `%40`, HTML
`&#64;`). Every other character becomes `|`, which is part of no finding. Text that is plain already is not touched.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Final, NamedTuple

from gateway.content.scanner import NAME, WALL

DISGUISED: Final = (
    rb"[\x00-\x08\x0b\x0c\x0e-\x1c\x1e\x7f]|\\[\\ux\x22/nrtbf]|%[0-9A-Fa-f]{2}|&(?:#[0-9xX]|commat;|period;)"
)
"""Pattern of google-re2 for what `plain_bytes` leaves and `undisguise` changes: control characters and escapes."""

_ESCAPE = re.compile(
    r"\\\\|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[nrtbf\"/]|%[0-9A-Fa-f]{2}|&#[0-9]{1,7};|&#[xX][0-9A-Fa-f]{1,6};|&commat;|&period;"
)
_NAMED = {"n": "\n", "r": "\n", "t": "\t", "b": " ", "f": " ", '"': '"', "/": "/", "\\": "\\"}


class Normalised(NamedTuple):
    """ASCII text; `starts[i]` and `ends[i]` bound the original of character i."""

    text: str
    starts: list[int]
    ends: list[int]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """The span of the original text behind the span [start, end) of the normalised one."""
        return self.starts[start], self.ends[end - 1]


class _Table(dict[int, str | None]):
    """Character → its plain form, filled as characters are met; bounded by the number of code points."""

    def __missing__(self, code: int) -> str | None:
        plain = _plain(chr(code))
        self[code] = plain
        return plain


def _plain(char: str) -> str | None:
    if char.isascii():
        return char if char.isprintable() or char in f"\t\n\r{WALL}{NAME}" else None
    category = unicodedata.category(char)
    if category in {"Cf", "Mn", "Me", "Cc", "Cs"} or char in "\u115f\u1160\u3164\uffa0\u2800":
        return None
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if category == "Pd" or char == "\u2212":
        return "-"
    if category == "Zs":
        return " "
    if category in {"Zl", "Zp"}:
        return "\n"
    base = unicodedata.normalize("NFKD", char)[0]
    if base.isascii() and base.isprintable():
        return base
    return "x" if char.isalpha() and ord(char) < 0x0900 else "|"


_TABLE = _Table()


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Error handler of the ASCII codec: characters beyond ASCII become plain ones, or nothing."""
    assert isinstance(error, UnicodeEncodeError)
    table = _TABLE
    return "".join([table[ord(char)] or "" for char in error.object[error.start : error.end]]), error.end


codecs.register_error("cordon.plain", _replace)


def plain_bytes(text: str) -> bytes:
    """`text` with every character beyond ASCII made plain; shorter than `text` where some were invisible."""
    return text.encode("ascii", "cordon.plain")


def undisguise(text: str) -> Normalised:
    """Undo everything, escapes and control characters included, with the way back to the original offsets."""
    chars: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    position = 0
    for escape in _ESCAPE.finditer(text):
        _literal(text, position, escape.start(), chars, starts, ends)
        plain = _TABLE[ord(_unescape(escape.group()))]
        if plain is not None:
            chars.append(plain)
            starts.append(escape.start())
            ends.append(escape.end())
        position = escape.end()
    _literal(text, position, len(text), chars, starts, ends)
    return Normalised("".join(chars), starts, ends)


def _literal(text: str, start: int, end: int, chars: list[str], starts: list[int], ends: list[int]) -> None:
    part = text[start:end]
    plain = part.translate(_TABLE)
    if len(plain) == len(part):
        chars.append(plain)
        starts.extend(range(start, end))
        ends.extend(range(start + 1, end + 1))
        return
    for position, char in enumerate(part, start):
        mapped = _TABLE[ord(char)]
        if mapped is not None:
            chars.append(mapped)
            starts.append(position)
            ends.append(position + 1)


def _unescape(escape: str) -> str:
    if escape[0] == "%":
        char = chr(int(escape[1:], 16))
    elif escape[0] == "&":
        if escape[1] != "#":
            return "@" if escape == "&commat;" else "."
        code = int(escape[3:-1], 16) if escape[2] in "xX" else int(escape[2:-1])
        char = chr(code) if code < 0x110000 else "\x00"
    elif escape[1] in "ux":
        char = chr(int(escape[2:], 16))
    else:
        return _NAMED[escape[1]]
    return "\x1c" if char in (WALL, NAME) else char
