"""Reads the engine's messages: the place they name, and never the values they may quote."""

from __future__ import annotations

import re
from typing import Final

from policies.errors import Problem

_PLACE: Final = re.compile(r"^--> (?P<file>.+):(?P<line>\d+):(?P<column>\d+)$", re.MULTILINE)
_ERROR: Final = re.compile(r"^error: (?P<text>.+)$", re.MULTILINE)


def parse_problem(file: str, message: str, code: str = "parse") -> Problem:
    """A problem out of a message about source text, which quotes nothing but the source."""
    place = _PLACE.search(message)
    reason = _ERROR.search(message)
    text = reason["text"] if reason else "the file cannot be read as Rego"
    if place is None:
        return Problem(file or ".", 0, 0, code, text, "correct it")
    return Problem(place["file"], int(place["line"]), int(place["column"]), code, text, "correct it")


def evaluation_failure(message: str) -> str:
    """Where an evaluation failed. The engine's own words are dropped: they may quote the input."""
    place = _PLACE.search(message)
    if place is None:
        return "the policy could not be evaluated on this input"
    return f"the policy failed at {place['file']}:{place['line']}; an error in a builtin denies"
