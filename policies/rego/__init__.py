"""Rego as Cordon needs to know it: what the engine evaluates as OPA does, what it does not, and what is done here.

exact.py lists builtins that are evaluated in Python instead (text.py, regexes.py, values.py, network.py).
"""
