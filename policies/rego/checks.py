"""Argument checks shared by the builtins that are done here."""

from __future__ import annotations

from typing import Final

MAX_TEXT: Final = 1_048_576
MAX_ITEMS: Final = 100_000
MAX_DEPTH: Final = 64


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


def kept(number: int) -> int:
    """A whole number that the engine keeps exactly, else an error in a builtin."""
    if not -(2**63) <= number < 2**64:
        raise ValueError("a number beyond 64 bits")
    return number


def distinct(value: object, depth: int = 0) -> object:
    """`value`, unless something in it was lost on the way here: Python takes 1 and true for one element of a set."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        for key, each in value.items():
            text(key)
            distinct(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            distinct(each, depth + 1)
    elif isinstance(value, set) and any(type(each) is bool or each in (0, 1) for each in value):
        raise TypeError("a set of booleans, 0 or 1 cannot be told apart here")
    return value


def size(value: object) -> int:
    """How many values there are in a value, itself included."""
    if isinstance(value, dict):
        return 1 + sum(map(size, value.values()))
    return 1 + sum(map(size, value)) if isinstance(value, list | set) else 1


def same(one: object, other: object) -> bool:
    """Whether two distinct values are equal in Rego, where true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(each, other[key]) for key, each in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other
