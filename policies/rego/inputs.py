"""Which parts of `input` a rule can read, so that nobody has to build the others for each call."""

from __future__ import annotations

from policies.rego.names import Names
from policies.rego.recursion import parts
from policies.rego.tree import Module, Rule, references


def keys_read(names: Names, rule: str) -> list[str] | None:
    """What of `input` the `rule` and what it depends on can read; None if that may be anything.

    Entries are top-level keys (`candidates`), or a key below one (`tenant.id`) where no more of it is read.
    """
    keys: set[str] = set()
    seen: set[tuple[str, ...]] = set()
    ahead = [tuple(rule.split("."))]
    while ahead:
        path = ahead.pop()
        if path in seen:
            continue
        seen.add(path)
        for module, found in names.rules.get(path, []):
            if not _read(names, module, found, keys, ahead):
                return None
    return sorted(keys)


def _read(names: Names, module: Module, rule: Rule, keys: set[str], ahead: list[tuple[str, ...]]) -> bool:
    for reference, _ in references(parts(rule.node)):
        path = names.resolve(module, reference)
        if path[:1] == ("input",):
            if len(path) < 2 or path[1] is None:
                return False
            keys.add(path[1] if len(path) < 3 or path[2] is None else f"{path[1]}.{path[2]}")
        ahead.extend(names.reached(path))
    return True
