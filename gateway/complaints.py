"""What is told to the operator of a failure that refuses every call: why, once a second, and never to the caller.

The reason may name a database and its host, which callers have no business to know.
"""

from __future__ import annotations

import time
from typing import Final

import structlog

log = structlog.get_logger("gateway")

PAUSE: Final = 1.0
"""Least time in s between two lines about the same kind of failure."""


class Complaints:
    """Lines about one kind of failure."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = 0.0

    def tell(self, error: Exception) -> None:
        """Write a line, unless there was one just now."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PAUSE
            log.error(self._text, error=str(error))
