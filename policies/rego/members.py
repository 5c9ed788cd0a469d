"""`key, value in collection`, which the engine misreads, as a call of a function of cordon_exact.rego."""

from __future__ import annotations

import re
from typing import Final

from policies.rego.edits import Edit, outermost
from policies.rego.names import Names
from policies.rego.tree import Module, expressions

_IN: Final = re.compile(rb"\bin\b")


def ask_for_members(names: Names, module: Module) -> list[Edit]:
    """The edits that write `k, v in c` as `data.cordon_exact.holds(k, v, c)`; those within others in a later pass."""
    source = module.text.encode()
    found = []
    for kind, node in expressions(module.tree["rules"]):
        if kind != "Membership" or node["key"] is None:
            continue
        value, collection = (next(iter(node[name].values()))["span"] for name in ("value", "collection"))
        word = _IN.search(source, value["end"], collection["start"])
        assert word is not None
        start, end = node["span"]["start"], node["span"]["end"]
        parts = (source[start : word.start()].rstrip(), source[word.end() : end].lstrip())
        lines = b"\n" * (source[start:end].count(b"\n") - parts[0].count(b"\n") - parts[1].count(b"\n"))
        written = b"data.cordon_exact.holds(" + parts[0] + b", " + lines + parts[1] + b")"
        found.append(Edit(start, end, written.decode()))
    return outermost(found)
