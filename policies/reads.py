"""What of `input` a rule can read, written as paths: `candidates`, `tenant.id`, `attributes.request.http.method`.

A path stands for everything below it. Where a set of paths is None, it may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

Reads = frozenset[str] | None

UNLIKE: Final = ("call.id", "attributes.request.http.id")
"""What no two calls have alike: whoever reads it is never asked the same twice."""

Tree = dict[str, "Tree | None"]
"""Paths by their steps; None where everything below is read."""


def shows(shown: Reads, part: str) -> bool:
    """Whether a document that is made of `shown` has all that is read at the path `part`."""
    if shown is None or part in shown:
        return True
    steps = part.split(".")
    return any(".".join(steps[:length]) in shown for length in range(1, len(steps)))


def covers(shown: Reads, reads: Reads) -> bool:
    """Whether a document that is made of `shown` has all that `reads` names."""
    if shown is None:
        return True
    return reads is not None and all(shows(shown, part) for part in reads)


def touches(reads: Reads, part: str) -> bool:
    """Whether anything at the path `part`, or below it, is read."""
    return shows(reads, part) or any(each.startswith(f"{part}.") for each in reads or ())


def tree(reads: Reads) -> Tree | None:
    """The paths as a tree, for `narrow`."""
    if reads is None:
        return None
    root: Tree = {}
    for path in sorted(reads, key=lambda path: (len(path), path)):  # what stands for more comes first
        *way, last = path.split(".")
        at: Tree | None = root
        for step in way:
            if at is None:
                break
            at = at.setdefault(step, {})
        if at is not None:
            at[last] = None
    return root


def narrow(value: object, wanted: Mapping[str, Tree | None] | None) -> object:
    """A JSON value with only what is `wanted` of its objects; what is no object stays whole."""
    if wanted is None or not isinstance(value, dict):
        return value
    return {step: narrow(value[step], below) for step, below in wanted.items() if step in value}
