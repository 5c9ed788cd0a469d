"""The demonstration: a real session against a Cordon of its own, told on the terminal.

Starts `cordon up` on a directory of its own with the stand-in as upstream, plays the scenes with the vendors' own
clients where these are installed, checks that each went as told, and shows what the log holds of it.

    stage       the running Cordon: configuration, keys, log, what the upstream received
    clients     the vendors' SDKs and plain HTTP behind one small interface
    scenes      what is played; each scene checks itself
    thief       the scene with the stolen key
    evidence    the records, a proof of inclusion, the verification
    screen      how it is told
    session     the order of it all
"""

from cordon.demo.session import play

__all__ = ["play"]
