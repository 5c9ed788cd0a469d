"""Names that stand for what rewriting adds to a bundle: a module that meant them would read, replace or add to that.

The guards are rules of the package cordon_exact; without this check `count(x) == 0 with data.cordon_exact.size as 0`
would hold of everything. The entries of a tree (heads.py) are a rule of the bundle's own package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from policies.errors import Problem
from policies.rego.heads import ENTRIES
from policies.rego.mocks import mocks
from policies.rego.names import Names, in_data
from policies.rego.recursion import parts
from policies.rego.tree import Module, bracketed, path_of, references

_GUARDS: Final = ("data", "cordon_exact")


def check_reserved(names: Names, module: Module, data: Mapping[str, object]) -> Iterator[Problem]:
    """Packages, rules, references, imports, replacements and data that have such a name."""
    own = {_GUARDS, *((*root[:-1], ENTRIES + root[-1]) for root in names.trees)}
    declared = [(module.package, module.tree["package"]), *((rule.path, rule.node) for rule in module.rules)]
    imported = [(path_of(node["refr"]), node) for node in module.tree["imports"]]
    heads = [next(iter(rule.node["head"].values()))["refr"] for rule in module.rules if not rule.default]
    meant = [*(parts(rule.node) for rule in module.rules), *(list(bracketed(head)) for head in heads)]
    meant += [[mock["refr"], mock["as"]] for mock in mocks(module)]
    read = [(names.resolve(module, path), node) for path, node in references(meant)]
    there = [(path, module.tree["package"]) for path in own if in_data(path[1:], data)]
    for path, node in (*there, *declared, *imported, *read):
        if any(path[: len(each)] == each for each in own):
            message = f"{'.'.join(step or '[]' for step in path)} is a name of Cordon's own"
            yield module.problem(node, "reserved", message, "name something else")
