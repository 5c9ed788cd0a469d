"""Spellings that OPA knows and the engine's parser does not, written in ones that it does. No line is added or removed.

    $"a {x} b"          cordon_template(["a ", [part | part := x], " b"])
    input.if            input["if"]
    if.x := 1           cordon_word_if.x := 1, a name of the module's own (inspection.py sees that nobody else means it)
    not { a; b }        [1 | a; b] == [], where the module imports future.keywords.not (or all of future.keywords)

What cannot be read with certainty stays as it is, so that the parser refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

WORD: Final = "cordon_word_"
"""Begins the names of rules that are called like a keyword."""

MAX_TEMPLATES: Final = 6
"""How deep templates may lie in each other."""

_KEYWORDS: Final = "as|contains|default|else|every|false|if|import|in|not|null|package|some|true|with"
_NEEDED: Final = re.compile(rf'\$["`]|\.(?:{_KEYWORDS})\b|\b(?:{_KEYWORDS})\.|future\.keywords')
_BODIES: Final = re.compile(r"^[ \t]*import[ \t]+future\.keywords(?:\.not)?[ \t]*(?:#.*)?$", re.MULTILINE)
_TAKEN: Final = re.compile("cordon_(?:template|part_|word_)")
_TOKEN: Final = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|(?P<comment>#[^\n]*)|(?P<template>\$["`])'
    rf"|(?P<step>(?<=[A-Za-z0-9_\])])(?<!future\.keywords)\.(?P<field>{_KEYWORDS})\b)|(?P<root>(?<![\w.])(?:{_KEYWORDS})(?=\.[A-Za-z_]))"
    r"|(?P<body>\bnot\s*\{)|(?P<name>[A-Za-z_]\w*)|[=!<>]=|.",
    re.DOTALL,
)
_ENDING: Final = frozenset({";", "\n", ",", "=", "|", "not", "some", "every"})
"""What an expression of a template does not have outside brackets. (A union of sets needs parentheses there.)"""


class _Unreadable(Exception):
    pass


def respell(text: str) -> str:
    """The text of a module as the engine's parser reads it; unchanged where it has none of these spellings."""
    if _NEEDED.search(text) is None or _TAKEN.search(text) is not None:
        return text
    try:
        return _Reader(text).all()
    except _Unreadable:
        return text


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._bodies = _BODIES.search(text) is not None

    def all(self) -> str:
        """The whole text."""
        return "".join(piece for piece, _ in self._pieces(0, 0))

    def _pieces(self, at: int, depth: int) -> Iterator[tuple[str, int]]:
        """Piece by piece from a place on: what to write, and where the next piece begins."""
        while at < len(self._text):
            token = _TOKEN.match(self._text, at)
            assert token is not None
            at = token.end()
            if token["template"]:
                written, at = self._template(token["template"][1], at, depth)
            elif token["body"] and self._bodies:
                written, at = self._body(token["body"], at, depth)
            elif token["body"]:
                written, at = "not", token.start() + len("not")
            elif token["step"]:
                written = f'["{token["field"]}"]'
            elif token["root"]:
                written = self._word(token["root"])
            else:
                written = token[0]
            yield written, at

    def _word(self, keyword: str) -> str:
        """The name for a rule called like a keyword, unless an import may be meant."""
        if re.search(rf"^\s*import\b.*\b{keyword}\b", self._text, re.MULTILINE):
            raise _Unreadable
        return WORD + keyword

    def _body(self, opening: str, at: int, depth: int) -> tuple[str, int]:
        """A negated body from behind its opening brace on, as a comprehension that is compared, and where it ends."""
        written = "[1 | " + "\n" * opening.count("\n")
        open_braces = 0
        for piece, end in self._pieces(at, depth):
            if piece == "}" and not open_braces:
                return written + "] == []", end
            open_braces += (piece[-1] == "{" and piece[0] in "{n") - (piece == "}")
            written += piece
        raise _Unreadable

    def _template(self, quote: str, at: int, depth: int) -> tuple[str, int]:
        """A template string from behind its opening quote on, as a call, and where it ends."""
        if depth >= MAX_TEMPLATES:
            raise _Unreadable
        parts: list[str] = []
        literal = ""
        while True:
            mark = self._text[at : at + 1]
            if not mark or (mark == "\n" and quote == '"'):
                raise _Unreadable
            if mark == quote:
                break
            if mark == "{":
                parts += [quote + literal + quote] if literal else []
                expression, at = self._expression(at + 1, depth + 1)
                name = f"cordon_part_{depth}_{at}"
                parts.append(f"[{name} | {name} := {expression}]")
                literal = ""
                continue
            if mark == "\\":
                escaped = self._text[at + 1 : at + 2]
                mark = "{" if escaped == "{" else mark + escaped if quote == '"' else mark
                at += len(mark) if escaped != "{" else 2
            else:
                at += 1
            literal += mark
        parts += [quote + literal + quote] if literal else []
        return f"cordon_template([{', '.join(parts)}])", at + 1

    def _expression(self, at: int, depth: int) -> tuple[str, int]:
        """One expression up to the brace that closes it, without a line break or another statement."""
        written = ""
        open_brackets = 0
        for piece, end in self._pieces(at, depth):
            if piece in ("(", "[", "{"):
                open_brackets += 1
            elif piece == "}" and not open_brackets:
                if not written.strip():
                    raise _Unreadable
                return written, end
            elif piece in (")", "]", "}"):
                open_brackets -= 1
            elif piece[0] == "#" or (piece in _ENDING and not open_brackets):
                raise _Unreadable
            written += piece
        raise _Unreadable
