"""What is different between two bundles, file by file, as unified diffs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from policies.bundle import Bundle

MOST_LINES: Final = 5_000
"""Lines of difference that are shown in all."""
LONGEST_LINE: Final = 500
DATA: Final = "data"
"""The name under which the merged data are compared."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not the same in both. `lines` are those of a unified diff without its head; a long one is cut."""

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
        lines = _lines(old.get(file, ""), new.get(file, ""))
        shown = lines[: max(0, left)]
        if len(shown) < len(lines):
            shown = (*shown, f"… and {len(lines) - len(shown)} lines more")
        left -= len(lines)
        found.append(Difference(file, kind, shown))
    return found


def _texts(bundle: Bundle) -> Mapping[str, str]:
    data = json.dumps(bundle.data, indent=2, sort_keys=True, ensure_ascii=False)
    return {**bundle.modules, **bundle.tests, **({DATA: data} if bundle.data else {})}


def _lines(before: str, after: str) -> tuple[str, ...]:
    old, new = before.splitlines(), after.splitlines()
    if len(old) + len(new) > 20_000:  # comparing takes the square of it
        return (f"-{len(old)} lines", f"+{len(new)} lines")
    diff = list(difflib.unified_diff(old, new, lineterm="", n=3))[2:]
    return tuple(line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…" for line in diff)
