"""Turns the modules of a bundle into ones that the engine evaluates as OPA evaluates the originals.

Each pass changes the text, which is parsed again for the next one. No pass adds or removes a line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from policies.errors import Problem
from policies.rego.edits import Edit, apply
from policies.rego.exactly import EXACT_FILE, exact_module, make_exact
from policies.rego.extents import write_objects
from policies.rego.functions import give_plain_names
from policies.rego.heads import plant_trees
from policies.rego.imports import write_out
from policies.rego.members import ask_for_members
from policies.rego.names import Names
from policies.rego.negation import enclose, take_out
from policies.rego.outputs import turn_round
from policies.rego.recursion import check_recursion
from policies.rego.tree import Module, parse

MAX_REPEATS: Final = 32
_PASSES: Final[tuple[Callable[[Names, Module], list[Edit]], ...]] = (
    enclose,
    write_out,
    write_objects,
    plant_trees,
    give_plain_names,
    ask_for_members,
    turn_round,
    take_out,
)


def rewrite(modules: Sequence[Module], data: Mapping[str, object]) -> tuple[dict[str, str], list[Problem]]:
    """The texts to serve, cordon_exact.rego among them, and what could not be made exact."""
    for edits_of in _PASSES:
        modules = _passed(modules, edits_of)
    names = Names(modules)
    texts: dict[str, str] = {}
    problems = check_recursion(names)
    for module in modules:
        texts[module.file], found = make_exact(names, module, data)
        problems += found
    return texts | {EXACT_FILE: exact_module()}, problems


def _passed(modules: Sequence[Module], edits_of: Callable[[Names, Module], list[Edit]]) -> Sequence[Module]:
    """The modules with a pass repeated until it finds nothing more to change."""
    for _ in range(MAX_REPEATS):
        names = Names(modules)
        edits = [edits_of(names, module) for module in modules]
        if not any(edits):
            return modules
        modules = [
            parse(module.file, apply(module.text, changes)) if changes else module
            for module, changes in zip(modules, edits, strict=True)
        ]
    raise RecursionError("the rewriting of a bundle does not come to an end")
