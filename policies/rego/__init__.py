"""Rego as Cordon needs to know it: what the engine evaluates as OPA does, what it does not, and what is done here.

exact.py lists builtins that are evaluated in Python instead (text.py, regexes.py, values.py, network.py).
"""

import os

# An error would cost a walk of the stack, and callers can provoke errors. Read by the engine at its first error.
os.environ.setdefault("RUST_LIB_BACKTRACE", "0")
