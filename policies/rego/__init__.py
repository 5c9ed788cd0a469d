"""Rego as Cordon needs to know it: what the engine evaluates as OPA does, what it does not, and what is done here.

spelling.py    reads what the engine's parser does not know (template strings, names like keywords)
inspection.py  refuses; names.py, mocks.py, recursion.py, extents.py tell it what is meant
rewriting.py   makes the rest mean what OPA means: imports, extents, members, outputs, negation, exactly
exact.py       lists builtins that are evaluated in Python instead: text, regexes, values, network, cidrs,
               documents, units, uris, uuids, tokens (keys, signing)
"""

import os

# An error would cost a walk of the stack, and callers can provoke errors. Read by the engine at its first error.
os.environ.setdefault("RUST_LIB_BACKTRACE", "0")
