"""A look at Rego source before the engine parses it: brackets only.

The engine's parser takes time that doubles with each level of nested array, set and object literals, and it recurses
without a limit. What nests too deeply is refused before it is parsed anywhere.
"""

from __future__ import annotations

import re
from typing import Final

from policies.errors import Problem
from policies.rego.spelling import respell

MAX_BRACKETS: Final = 12
MAX_PARENTHESES: Final = 40
MAX_FILE_BRACKETS: Final = 50_000

_TOKEN: Final = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`|#[^\n]*|[][{}()]|\n')
_DEEP: Final = "give the inner part a rule or variable of its own, or move it to data.json"


def check_brackets(file: str, text: str) -> list[Problem]:
    """Problems of nesting, at the bracket that goes too deep; at most one of each kind a file."""
    depth = {"[": 0, "(": 0}
    line, line_start, count = 1, 0, 0
    for token in _TOKEN.finditer(respell(text)):
        mark = token[0]
        if mark in "[{(":
            count += 1
            kind = "(" if mark == "(" else "["
            depth[kind] += 1
            if depth["["] > MAX_BRACKETS or depth["("] > MAX_PARENTHESES:
                column = token.start() - line_start + 1
                return [
                    Problem(file, line, column, "nesting", "brackets are nested too deeply to be parsed in time", _DEEP)
                ]
        elif mark in "]})":
            kind = "(" if mark == ")" else "["
            depth[kind] = max(0, depth[kind] - 1)
        lines = mark.count("\n")
        if lines:
            line += lines
            line_start = token.start() + mark.rindex("\n") + 1
    if count > MAX_FILE_BRACKETS:
        return [Problem(file, 0, 0, "nesting", "there are too many brackets to be parsed in time", "split the file")]
    return []
