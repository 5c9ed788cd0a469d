"""Argument checks shared by the builtins that are done here."""

from __future__ import annotations

from typing import Final

MAX_TEXT: Final = 1_048_576
MAX_ITEMS: Final = 100_000


def text(value: object) -> str:
    """`value` as a text of bounded length, else an error in a builtin."""
    if type(value) is not str:
        raise TypeError("a string is expected")
    if len(value) > MAX_TEXT:
        raise ValueError("the text is too long")
    return value


def whole(value: object) -> int:
    """`value` as a whole number, else an error in a builtin."""
    if type(value) is not int:
        raise TypeError("a whole number is expected")
    return value
