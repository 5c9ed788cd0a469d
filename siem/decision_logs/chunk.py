"""Chunks: as many events as fit into one request to a collector, a compressed JSON array."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LEVEL: Final = 6
GROWTH: Final = 64
"""Most bytes of events tried for one byte of the limit: more than JSON is ever compressed, apart from nonsense."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The first `count` events, compressed."""

    count: int
    body: bytes


class Packer:
    """Fills chunks up to `limit` compressed bytes; it learns from each how far events are compressed."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._budget = 4 * limit

    def pack(self, lines: Sequence[bytes], most: int) -> Chunk:
        """At most `most` of the events, at least the first, which alone may be beyond the limit."""
        count, size = 0, 0
        while count < min(most, len(lines)) and (count == 0 or size + len(lines[count]) < self._budget):
            size += len(lines[count]) + 1
            count += 1
        while True:
            body = gzip.compress(b"[" + b",".join(lines[:count]) + b"]", LEVEL, mtime=0)
            if len(body) <= self.limit or count == 1:
                break
            count = max(1, min(count - 1, int(count * self.limit / len(body) * 0.9)))
        raw = sum(map(len, lines[:count]))
        self._budget = max(self.limit, min(GROWTH * self.limit, int(raw / len(body) * self.limit * 0.95)))
        return Chunk(count, body)
