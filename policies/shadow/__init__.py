"""Shadow: a bundle that is tried out on the calls of a live gateway, beside the one that decides, and acts on nothing.

What comes in: each decision of a call with the document that it was made on. What goes out: counts of what the bundle
in shadow would have decided otherwise, by kind and rule, with a few calls as examples.

    compare.py    two decisions and their differences, by kind
    wire.py       what the worker and its shadow process say to each other
    process.py    the process, in which the bundles in shadow are evaluated: `python -m policies.shadow.process`
    trial.py      what was counted of a bundle since the last record
    runner.py     the worker's side: a bounded queue, and the process's life

A process, and not a thread: the embedded engine holds the interpreter's lock for the length of an evaluation, so that
a dear bundle in a thread would hold up the calls that it must not touch. Whatever it does there, the worker hands over
a document or leaves it out, and never waits.
"""
