"""References to `data` that nothing in the bundle has, such as `data.lib.denyed`: always undefined.

A bundle holds all of its data, so that what is neither a rule nor data is nowhere. A test may put something there.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from policies.authoring.layout import NEAR
from policies.errors import Problem
from policies.rego.extents import named_only
from policies.rego.mocks import replaced
from policies.rego.names import Names, known
from policies.rego.recursion import parts
from policies.rego.tree import references

CODE: Final = "unknown_data"
_MOST_NAMED: Final = 12

Path = tuple[str, ...]


def unknown_data(names: Names, data: Mapping[str, object], live: Collection[Path]) -> Iterator[Problem]:
    """An error in a rule that is evaluated for decisions (`live`), else a warning."""
    steps = _steps(names)
    mocked = [known(path) for path in replaced(names)]
    for module in names.modules:
        ignored = named_only(module)
        for rule in module.rules:
            for reference, node in references(parts(rule.node)):
                path = known(names.resolve(module, reference))
                if id(node) in ignored or path[:1] != ("data",) or any(path[: len(each)] == each for each in mocked):
                    continue
                missing = _missing(names, steps, data, path)
                if missing is None:
                    continue
                place, there = missing
                line, column = module.place(node)
                message = f"there is no {'.'.join(place)} in the bundle, neither a rule nor data"
                severity = "error" if rule.path in live else "warning"
                yield Problem(module.file, line, column, CODE, message, _remedy(place, there), severity)


def _steps(names: Names) -> Mapping[Path, set[str]]:
    """What follows each beginning of a package's or a rule's path."""
    found: dict[Path, set[str]] = defaultdict(set)
    for path in {*names.packages, *names.rules}:
        for length in range(1, len(path)):
            found[path[:length]].add(path[length])
    return found


def _missing(
    names: Names, steps: Mapping[Path, set[str]], data: Mapping[str, object], path: Path
) -> tuple[Path, set[str]] | None:
    """The first part of a path that leads nowhere, and the steps that would lead somewhere instead of its last."""
    value: object = data
    for length in range(1, len(path)):
        at, step = path[:length], path[length]
        if at in names.rules or not (isinstance(value, Mapping) or at in steps):
            return None
        there = set(steps.get(at, ())) | (set(map(str, value)) if isinstance(value, Mapping) else set())
        if step not in there:
            return path[: length + 1], there
        value = value.get(step) if isinstance(value, Mapping) else None
    return None


def _remedy(place: Path, there: set[str]) -> str:
    near = difflib.get_close_matches(place[-1], sorted(there), n=1, cutoff=NEAR)
    at = ".".join(place[:-1])
    if near:
        return f"did you mean {at}.{near[0]}?"
    named = ", ".join(sorted(there)[:_MOST_NAMED])
    return f"known there: {named}" if 0 < len(there) <= _MOST_NAMED else "correct the name, or add it to the data"
