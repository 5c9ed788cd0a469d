"""Random bytes for what every call needs (ids, nonces, trace ids): from the system, many at a time.

A system call for each of them would be most of what they cost. Nothing is given out twice: pieces are taken off a
queue, which is safe among threads, and a forked process begins with an empty one.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

PIECE: Final = 16
_DRAWN: Final = 256

_ready: deque[bytes] = deque()
os.register_at_fork(after_in_child=_ready.clear)


def sixteen() -> bytes:
    """Return 16 fresh random bytes."""
    try:
        return _ready.popleft()
    except IndexError:
        drawn = os.urandom(PIECE * _DRAWN)
        _ready.extend(drawn[at : at + PIECE] for at in range(PIECE, len(drawn), PIECE))
        return drawn[:PIECE]
