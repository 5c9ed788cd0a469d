"""One bound on the bytes that a worker holds at once for all its connections."""

from __future__ import annotations


class Budget:
    """Bytes held against a limit. What would go over it has to be refused or has to wait, never to be dropped."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def take(self, count: int) -> bool:
        """Account for `count` more bytes (negative: fewer); False, and nothing taken, when the limit forbids it."""
        held = self.held + count
        if held > self.limit and count > 0:
            return False
        self.held = held
        return True

    def force(self, count: int) -> None:
        """Account for bytes that are held already, so that others are refused in their place."""
        self.held += count
