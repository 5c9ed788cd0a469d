"""A log without its writer process, for tests of what follows it: the real store, appended to at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import orjson

from lineage.control import ControlState
from lineage.errors import LogUnavailable
from lineage.sqlite_store import SqliteStore


class StoreLog:
    """Appends to a store as the log writer does, one record a commit; `down` makes it refuse as a dead writer would.

    `lost_acks`: appends are committed but their acknowledgement is lost, as when the writer dies right after a commit.
    """

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)
        self.control = ControlState()
        self.down = False
        self.lost_acks = 0
        self.on_append: Callable[[], None] = lambda: None
        for index, record in self.store.read(0, 1_000_000):
            self.control = self.control.fold(orjson.loads(record), index)

    def append(self, record: bytes) -> asyncio.Future[int]:
        """Commit a record and tell whoever listens."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.down:
            done.set_exception(LogUnavailable("the writer is away"))
            return done
        index = self.put(record)
        if self.lost_acks:
            self.lost_acks -= 1
            done.set_exception(LogUnavailable("the writer went away"))
        else:
            done.set_result(index)
        return done

    def put(self, *records: bytes) -> int:
        """Commit records as another process would; the index of the last."""
        first = self.store.size()
        self.store.append(first, records)
        for index, record in enumerate(records, first):
            self.control = self.control.fold(orjson.loads(record), index)
        self.on_append()
        return first + len(records) - 1

    def records(self, *kinds: str) -> list[dict[str, object]]:
        """The records of these kinds, in order; all of them where none is named."""
        return [facts for facts in self._all() if not kinds or facts["kind"] in kinds]

    def _all(self) -> Iterable[dict[str, object]]:
        for index, record in self.store.read(0, 1_000_000):
            yield {"index": index, **orjson.loads(record)}
