"""What is different between two bundles, file by file, as unified diffs.

Whoever approves a bundle decides by what is seen here. So a line ends where Rego has it end and nowhere else, what
cannot be seen is written out (`\\u{2028}`), and a long line goes on below instead of being cut.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from policies.bundle import Bundle

MOST_LINES: Final = 5_000
"""Lines of difference that are shown in all."""
LONGEST_LINE: Final = 500
"""Characters after which a line goes on in the next one."""
DATA: Final = "data"
"""The name under which the merged data are compared."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not the same in both. `lines` are those of a unified diff without its head."""

    file: str
    kind: Literal["added", "removed", "changed"]
    lines: tuple[str, ...]


def differences(before: Bundle, after: Bundle) -> list[Difference]:
    """The files that differ, tests and data among them, by name; data as JSON, however they were written."""
    old, new = _texts(before), _texts(after)
    found: list[Difference] = []
    left = MOST_LINES
    for file in sorted(old.keys() | new.keys()):
        if old.get(file) == new.get(file):
            continue
        kind: Literal["added", "removed", "changed"] = (
            "added" if file not in old else "removed" if file not in new else "changed"
        )
        lines = _lines(old.get(file, ""), new.get(file, ""), shown=left > 0)
        shown = lines[: max(0, left)]
        if len(shown) < len(lines):
            shown = (*shown, f"… and {len(lines) - len(shown)} lines more")
        left -= len(lines)
        found.append(Difference(file, kind, shown))
    return found


def _texts(bundle: Bundle) -> Mapping[str, str]:
    data = json.dumps(bundle.data, indent=2, sort_keys=True, ensure_ascii=False)
    return {**bundle.modules, **bundle.tests, **({DATA: data} if bundle.data else {})}


def _lines(before: str, after: str, *, shown: bool) -> tuple[str, ...]:
    old, new = _split(before), _split(after)
    if not shown or len(old) + len(new) > 20_000:  # comparing takes the square of it
        return (f"-{len(old)} lines", f"+{len(new)} lines")
    return tuple(piece for line in list(difflib.unified_diff(old, new, lineterm="", n=3))[2:] for piece in _cut(line))


def _split(text: str) -> list[str]:
    """The lines, as they may be shown: `splitlines` would end one at characters that Rego has within a comment."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if not lines[-1]:
        lines.pop()
    return [line if line.isprintable() else "".join(map(_seen, line)) for line in lines]


def _seen(char: str) -> str:
    return char if char.isprintable() or char == "\t" else f"\\u{{{ord(char):x}}}"


def _cut(line: str) -> Iterator[str]:
    """The line, or its pieces, each with the sign that it begins with."""
    yield line[: LONGEST_LINE + 1]
    for at in range(LONGEST_LINE + 1, len(line), LONGEST_LINE - 1):
        yield f"{line[0]}…{line[at : at + LONGEST_LINE - 1]}"
