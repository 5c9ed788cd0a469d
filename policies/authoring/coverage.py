"""Which lines and rules of a bundle its tests evaluate.

The engine tells which lines it has evaluated; rewriting keeps lines, so they are the author's. Tests themselves do not
count. A line counts if there is something on it to evaluate; a rule counts as covered if all lines of one of its
bodies were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from policies.rego.parsing import parsed
from policies.rego.tree import Module, Node, Rule


@dataclass(slots=True)
class Lines:
    """Of one file, the lines that were evaluated, and all that could be."""

    covered: set[int]
    all: set[int]


@dataclass(frozen=True, slots=True)
class UncoveredRule:
    """A rule that no test evaluates to the end of a body."""

    rule: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """Of one file: how many lines count and how many were evaluated, and the lines that were not."""

    file: str
    lines: int
    covered: int
    missed: tuple[int, ...]

    @property
    def percent(self) -> float:
        """The share of lines in percent, rounded down to a tenth, so that 100 means all."""
        return share(self.covered, self.lines)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of all served files: percent by line and by rule, each file, and the rules that are not covered."""

    line_percent: float
    rule_percent: float
    files: tuple[FileCoverage, ...]
    uncovered: tuple[UncoveredRule, ...]


def merge(lines: dict[str, Lines], found: Mapping[str, Sequence[Sequence[int]]]) -> None:
    """Add what the engine tells of one test: by file, the lines evaluated and those not."""
    for file, (covered, missed) in found.items():
        known = lines.setdefault(file, Lines(set(), set()))
        known.covered.update(covered)
        known.all.update(covered, missed)


def measure(modules: Mapping[str, str], lines: Mapping[str, Lines]) -> Coverage:
    """The coverage of these modules (texts by file)."""
    nothing = Lines(set(), set())
    files = []
    for file in sorted(modules):
        of = lines.get(file, nothing)
        files.append(FileCoverage(file, len(of.all), len(of.covered), tuple(sorted(of.all - of.covered))))
    rules = [each for module in parsed(modules) for each in _rules(module, lines.get(module.file, nothing))]
    uncovered = tuple(rule for rule, covered in rules if not covered)
    return Coverage(
        share(sum(each.covered for each in files), sum(each.lines for each in files)),
        share(len(rules) - len(uncovered), len(rules)),
        tuple(files),
        uncovered,
    )


def share(part: int, whole: int) -> float:
    """A part in percent, rounded down to a tenth; all of nothing is 100."""
    return part * 1000 // whole / 10 if whole else 100.0


def _rules(module: Module, lines: Lines) -> Iterator[tuple[UncoveredRule, bool]]:
    """The rules that have something to evaluate, and whether it was."""
    for rule in module.rules:
        parts = [counted for node in _bodies(rule) if (counted := _span(module, node) & lines.all)]
        if parts:
            found = UncoveredRule(".".join(rule.path), module.file, module.place(rule.node)[0])
            yield found, any(part <= lines.covered for part in parts)


def _bodies(rule: Rule) -> list[Node]:
    return [body["query"] for body in rule.node.get("bodies") or ()] or [rule.node]


def _span(module: Module, node: Node) -> set[int]:
    first = module.place(node)[0]
    return set(range(first, first + module.source(node).count("\n") + 1))
