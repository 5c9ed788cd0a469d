"""What is to be sent in one turn of the event loop, sent at its end.

A worker with many connections so first reads all that came and then sends all that follows from it. Switching between
the two for every request is slower: each send wakes its receiver, which then competes for the processor, and the
kernel's network code and the interpreter displace each other from the processor's caches.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Sender(Protocol):
    """Something with bytes to send."""

    def flush(self) -> None:
        """Send what has been gathered."""
        ...


class Outbox:
    """The senders that have gathered something in this turn."""

    __slots__ = ("_loop", "_senders")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._senders: list[Sender] = []

    def add(self, sender: Sender) -> None:
        """Have this sender flushed at the end of the turn; it adds itself once for all that it gathers."""
        if not self._senders:
            self._loop.call_soon(self._flush)
        self._senders.append(sender)

    def _flush(self) -> None:
        senders, self._senders = self._senders, []
        waiting = iter(senders)
        try:
            for sender in waiting:
                sender.flush()
        finally:
            for sender in waiting:
                self.add(sender)
