"""Heads with a variable in the middle, `p[x].y := 1`, which the engine does not know: a tree put together from entries.

All rules whose heads begin with the same name become one set of entries, and the name becomes the tree made of them:

    p[x].y := 1 if …          cordon_entries_p contains [[x, "y"], 1, false] if …
    p.z contains "a" if …     cordon_entries_p contains [["z"], "a", true] if …
                              p := cordon_tree([e | some e in cordon_entries_p], [["z", true]])

The last argument lists what is there without any entry. As in OPA, entries of one path must agree, and no path
may go on through the value of another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from policies.errors import Problem
from policies.rego.builtins import OPA_SERVER
from policies.rego.edits import Edit
from policies.rego.mocks import replaced
from policies.rego.names import Names, known
from policies.rego.tree import Module, Node, Rule

ENTRIES: Final = "cordon_entries_"
Root = tuple[str, ...]


def roots(names: Names) -> dict[Root, list[tuple[Module, Rule]]]:
    """By the first name of such heads, with its package: all rules below it."""
    return {
        root: [each for path, rules in names.rules.items() if path[: len(root)] == root for each in rules]
        for root in names.trees
    }


def check_heads(names: Names) -> Iterator[Problem]:
    """What cannot be written as entries of a tree."""
    mocked = [known(path) for path in replaced(names)]
    for root, rules in roots(names).items():
        alone = all(module.package == root[:-1] for module, _ in rules)
        free = not any(
            path[: len(root)] == root or root[: len(path)] == path for path in mocked if path[:1] == ("data",)
        )
        inside = any(package[: len(root)] == root for package in names.packages)
        for module, rule in rules:
            plain = not rule.default and not rule.function and len(rule.node["bodies"]) < 2
            if not (plain and alone and free and not inside and _fits(module)):
                message = f"{'.'.join(root)} has variables in the middle of heads, and rules that do not go with them"
                yield module.problem(rule.node, "head", message, "put the variable last, or " + OPA_SERVER)


def _fits(module: Module) -> bool:
    """Whether a module does not use the names that are made here."""
    return ENTRIES not in module.text and "cordon_tree" not in module.text


def plant_trees(names: Names, module: Module) -> list[Edit]:
    """The edits that write these rules as entries; the tree goes to the end of the first module that has some."""
    edits = []
    for root, rules in sorted(roots(names).items()):
        edits += [_entry(module, root, rule) for each, rule in rules if each is module]
        if min(each.file for each, _ in rules) == module.file:
            size = len(module.text.encode())
            name = ENTRIES + root[-1]
            shapes = json.dumps(sorted(set(_without_entries(root, rules)), key=str))
            written = f"\n{root[-1]} := cordon_tree([entry | some entry in {name}], {shapes})\n"
            edits.append(Edit(size, size, "", written))
    return edits


def _entry(module: Module, root: Root, rule: Rule) -> Edit:
    head = next(iter(rule.node["head"].values()))
    steps = ", ".join(_steps(module, head["refr"]))
    if rule.kind == "Set":
        value = module.source(next(iter(head["key"].values())))
    elif head["assign"] is None:
        value = "true"
    else:
        value = module.source(next(iter(head["assign"]["value"].values())))
    written = f"{ENTRIES}{root[-1]} contains [[{steps}], {value}, {json.dumps(rule.kind == 'Set')}]"
    return Edit(head["span"]["start"], head["span"]["end"], written)


def _steps(module: Module, refr: Node) -> list[str]:
    """The steps of a head behind its first name, as Rego."""
    kind, node = next(iter(refr.items()))
    if kind == "RefDot":
        return [*_steps(module, node["refr"]), json.dumps(node["field"][1])]
    if kind == "RefBrack":
        return [*_steps(module, node["refr"]), module.source(next(iter(node["index"].values())))]
    return []


def _without_entries(root: Root, rules: Sequence[tuple[Module, Rule]]) -> Iterator[tuple[str | bool, ...]]:
    """The known beginnings of heads, which are objects or, where a whole head is known, sets: [*steps, is a set]."""
    for _, rule in rules:
        steps = rule.path[len(root) :]
        for length in range(1, len(steps)):
            yield (*steps[:length], False)
        if rule.open:
            if steps:
                yield (*steps, False)
        elif rule.kind == "Set":
            yield (*steps, True)
