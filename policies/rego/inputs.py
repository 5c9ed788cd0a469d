"""What a rule's decisions are a function of: which parts of `input` it can read, and whether of anything else.

So nobody has to build the other parts for each call, and a decision can be remembered by the parts that were read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from policies.errors import Problem
from policies.reads import UNLIKE, touches
from policies.rego.builtins import CHANGING
from policies.rego.names import Names
from policies.rego.recursion import parts
from policies.rego.tree import Module, Node, Path, Rule, expressions, references

DEEPEST: Final = 8
"""Most steps of a path that is told apart."""
LONGEST: Final = 128
"""Most characters of a step."""
MOST: Final = 200
"""Most paths; a rule that reads more is shown whole top-level keys."""


@dataclass(slots=True)
class Reading:
    """What a rule and all that it depends on read.

    `keys`: paths of `input` (`policies.reads`), sorted, none below another; None if that may be anything. `uncached`:
    the place and the reason why its decisions cannot be remembered, or would never be asked for again.
    """

    keys: list[str] | None
    uncached: Problem | None = None


def reading(names: Names, rule: str) -> Reading:
    """What the `rule` reads."""
    found = _Found()
    seen: set[tuple[str, ...]] = set()
    ahead = [tuple(rule.split("."))]
    while ahead:
        path = ahead.pop()
        if path in seen:
            continue
        seen.add(path)
        for module, each in names.rules.get(path, []):
            found.read(names, module, each, ahead)
    keys = None if found.whole else _plain(found.paths)
    if found.changing:
        return Reading(keys, min(found.changing))
    if found.whole:
        return Reading(None, min(found.whole))
    if keys is None:
        message = f"it reads more than {MOST} parts of the input"
        return Reading(None, Problem(".", 0, 0, "whole_input", message, severity="note"))
    for unlike in UNLIKE:
        if touches(frozenset(keys), unlike):
            return Reading(keys, min(found.places_of(unlike)))
    return Reading(keys)


@dataclass(slots=True)
class _Found:
    paths: dict[tuple[str, ...], list[tuple[Module, Node]]] = field(default_factory=dict)
    whole: list[Problem] = field(default_factory=list)
    changing: list[Problem] = field(default_factory=list)

    def read(self, names: Names, module: Module, rule: Rule, ahead: list[tuple[str, ...]]) -> None:
        for reference, node in references(parts(rule.node)):
            path = names.resolve(module, reference)
            if path[:1] == ("input",):
                steps = _steps(path[1:])
                if steps:
                    self.paths.setdefault(steps, []).append((module, node))
                else:
                    self.whole.append(_note(module, node, "whole_input", "any part of the input may be read here"))
            ahead.extend(names.reached(path))
        for kind, node in expressions(parts(rule.node)):
            if kind == "Call":
                function, name = names.called(module, node)
                if function is None and name in CHANGING:
                    message = f"{name} gives another result at another time"
                    self.changing.append(_note(module, node, "changing", message))

    def places_of(self, part: str) -> Iterator[Problem]:
        """Where `part` is read, by itself or in a whole that it is in."""
        for steps, nodes in self.paths.items():
            path = ".".join(steps)
            if touches(frozenset({path}), part):
                message = f"input.{path} is another in each call"
                yield from (_note(module, node, "unlike_calls", message) for module, node in nodes)


def _steps(path: Path) -> tuple[str, ...]:
    """The known steps of a path below `input`, as far as they can be written with points between them."""
    steps: list[str] = []
    for step in path[:DEEPEST]:
        if step is None or "." in step or not 0 < len(step) <= LONGEST:
            break
        steps.append(step)
    return tuple(steps)


def _plain(paths: dict[tuple[str, ...], list[tuple[Module, Node]]]) -> list[str] | None:
    """The paths that no other stands for; None where there are too many to tell."""
    for depth in (DEEPEST, 1):
        cut = {steps[:depth] for steps in paths}
        least = sorted(steps for steps in cut if not any(steps[:length] in cut for length in range(1, len(steps))))
        if len(least) <= MOST:
            return [".".join(steps) for steps in least]
    return None


def _note(module: Module, node: Node, code: str, message: str) -> Problem:
    line, column = module.place(node)
    return Problem(module.file, line, column, code, message, severity="note")
