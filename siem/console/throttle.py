"""A brake on guessing: failures counted in a table of fixed size, in windows of time.

A name or address falls into one of a fixed number of buckets, by a hash with a random key. So the table never grows, no
flood of made-up names can push a counter out of it, and nobody can choose a name that shares a bucket with another.
"""

from __future__ import annotations

import hashlib
import os
import threading
from ipaddress import IPv6Address, ip_address
from typing import Final

BUCKETS: Final = 4_096


class Throttle:
    """At most `limit` failures of one subject within `window_ms`; then it has to wait until the window is over."""

    __slots__ = ("_counts", "_key", "_lock", "_starts", "limit", "window_ms")

    def __init__(self, limit: int, window_ms: int) -> None:
        self.limit = limit
        self.window_ms = window_ms
        self._key = os.urandom(16)
        self._lock = threading.Lock()
        self._starts = [0] * BUCKETS
        self._counts = [0] * BUCKETS

    def wait_ms(self, subject: str, now: int) -> int:
        """How long the subject has to wait before its next attempt; 0: not at all. `now` is ms since the epoch."""
        bucket = self._bucket(subject)
        with self._lock:
            left = self._starts[bucket] + self.window_ms - now
            return max(0, left) if self._counts[bucket] >= self.limit else 0

    def attempt(self, subject: str, now: int) -> int:
        """Count an attempt before it is tried, so that attempts at the same time cannot pass together; as `wait_ms`."""
        bucket = self._bucket(subject)
        with self._lock:
            if now >= self._starts[bucket] + self.window_ms:
                self._starts[bucket], self._counts[bucket] = now, 0
            if self._counts[bucket] >= self.limit:
                return self._starts[bucket] + self.window_ms - now
            self._counts[bucket] += 1
            return 0

    def forgive(self, subject: str) -> None:
        """Take back one attempt: it was right."""
        bucket = self._bucket(subject)
        with self._lock:
            self._counts[bucket] = max(0, self._counts[bucket] - 1)

    def _bucket(self, subject: str) -> int:
        text = subject.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, key=self._key, digest_size=4).digest()) % BUCKETS


def network(address: str) -> str:
    """The part of a peer's address that one attacker cannot change at will: IPv4 whole, IPv6 its /64."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
