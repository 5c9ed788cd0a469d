"""Turns for what takes seconds of a processor: one at a time for each operator, and few in all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from siem.console.errors import Throttled


class Turns:
    """At most `most` at once; `what` says what somebody else is doing."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    @contextmanager
    def of(self, who: str) -> Iterator[None]:
        """An operator's turn; `Throttled` at once where there is none."""
        with self._lock:
            if who in self._taken or len(self._taken) >= self._most:
                raise Throttled(f"{self._what} is still under way; come back in some seconds.")
            self._taken.add(who)
        try:
            yield
        finally:
            with self._lock:
                self._taken.discard(who)
