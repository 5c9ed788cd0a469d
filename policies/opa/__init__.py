"""Policy evaluated by an OPA server: the second implementation of `policies.engine`.

What comes in: the same documents. What goes out: the same decisions, read by the same `result.py`.

    wire.py      what is sent and how answers read, without I/O; `Transport` is the connection that others provide
    engine.py    one decision: deadline, which bundle answered, what counts as no answer
    wrapper.py   the module that Cordon adds to a pushed bundle, so that each answer names the bundle that gave it
    server.py    what the server holds: modules, data, the lock
    push.py      puts a bundle into the server and takes it back where it is refused
    source.py    watches the folder and the server, and keeps the two in step

An OPA server that is lost, slow, empty or answers nonsense denies; nothing is ever decided by a guess.
"""
