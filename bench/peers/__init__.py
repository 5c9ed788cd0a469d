"""The systems that Cordon is measured beside, and what their processes are built from.

`scripts/peers` gets them into .cache/peers; `systems.py` starts them; `checks.py` shows that each does its work before
it is measured. docs/benchmarks.md says what each of them does and does not do.
"""
