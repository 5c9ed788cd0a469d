"""What the names in a set of modules mean: rules, functions, packages, data, builtins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from policies.rego.tree import Module, Node, Path, Rule, path_of

DOCUMENTS: Final = ("input", "data")


class Names:
    """The rules of a bundle by path, and the resolution of references to them."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self.modules = modules
        self.rules: dict[tuple[str, ...], list[tuple[Module, Rule]]] = defaultdict(list)
        self.packages: set[tuple[str, ...]] = set()
        self._below: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
        for module in modules:
            self.packages.add(module.package)
            for rule in module.rules:
                self.rules[rule.path].append((module, rule))
                for length in range(1, len(rule.path)):
                    self._below[rule.path[:length]].add(rule.path)
        self.trees = {
            rule.path[: len(module.package) + 1]
            for module in modules
            for rule in module.rules
            if _has_middle(rule) or (rule.open and self._below.get(rule.path))
        }
        """First names of heads with a variable before others: all that lies below one is evaluated together."""

    def resolve(self, module: Module, path: Path) -> Path:
        """A reference with its first step made absolute; unchanged where that is a local variable."""
        first = path[0] if path else None
        if first is None or first in DOCUMENTS:
            return path
        if first in module.imports:
            return (*module.imports[first], *path[1:])
        own = (*module.package, first)
        if own in self.rules or own in self._below:
            return (*own, *path[1:])
        return path

    def called(self, module: Module, call: Node) -> tuple[tuple[str, ...] | None, str]:
        """What a call calls: the path of a function of the bundle (or None) and the name as it is written."""
        path = path_of(call["fcn"])
        name = ".".join(step or "[]" for step in path)
        static = tuple(step for step in self.resolve(module, path) if step is not None)
        if len(static) >= len(path) and static in self.rules:
            return static, name
        return None, name

    def reached(self, path: Path) -> Iterator[tuple[str, ...]]:
        """The paths of all rules that an absolute reference may read."""
        if not path or path[0] != "data":
            return
        static = known(path)
        for length in range(1, len(static) + 1):
            if static[:length] in self.rules:
                yield static[:length]
        yield from self._below.get(static, ())
        for tree in self.trees:
            if static[: len(tree)] == tree or tree[: len(static)] == static:
                yield from (each for each in (tree, *self._below.get(tree, ())) if each in self.rules)

    def in_tree(self, path: tuple[str, ...]) -> bool:
        """Whether a path is one of `trees`, or lies in one."""
        return any(path[:length] in self.trees for length in range(1, len(path) + 1))

    def below(self, path: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
        """The paths of the rules that lie below `path`."""
        return self._below.get(path, ())


def _has_middle(rule: Rule) -> bool:
    """Whether a head goes on behind a variable, which the engine does not know (heads.py)."""
    head = rule.node if rule.default else next(iter(rule.node["head"].values()))
    return None in path_of(head["refr"])[:-1] or (rule.open and rule.kind in ("Set", "Func"))


def known(path: Path) -> tuple[str, ...]:
    """The steps of a reference up to the first that is only known when evaluated."""
    steps: list[str] = []
    for step in path:
        if step is None:
            break
        steps.append(step)
    return tuple(steps)


def in_data(path: tuple[str, ...], data: object) -> bool:
    """Whether data has a value at a rule's path, or something else than an object on the way to it."""
    for step in path:
        if not isinstance(data, Mapping):
            return True
        if step not in data:
            return False
        data = data[step]
    return True
