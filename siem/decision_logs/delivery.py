"""Delivers one destination's events: from the cursor on, in order, and the cursor moves only behind what was taken.

    cursor → batch from the source → chunk after chunk to the sink → cursor → … → wait

After a crash between a delivery and the cursor the same events come again, with the same ids. While the destination
fails, the batch is made anew for each try, so that a mask that was added meanwhile counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import SystemRandom
from typing import Final, Protocol, TypeVar

import orjson
import structlog
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError

from detectors.follower import kept, places
from lineage.actions import Stamp
from lineage.errors import LineageError
from lineage.metrics import Meter
from lineage.record import encode
from policies.errors import PolicyError
from policies.opa.wire import ServerError
from siem.decision_logs.settings import DecisionLog
from siem.decision_logs.sink import Sink, Undelivered
from siem.decision_logs.source import Batch, Source
from siem.decision_logs.standing import PREFIX, age_at, cursor_of

DETAIL_CHARACTERS: Final = 300
_VERSION: Final = 1
_DICE: Final = SystemRandom()
T = TypeVar("T")

_log = structlog.get_logger("cordon.decision_logs")


class Log(Protocol):
    """Where records are appended; `LogClient` is one."""

    def append(self, record: bytes) -> Awaitable[int]:
        """Append a record; yields its index once it is committed, or raises LogUnavailable."""


class Cursor:
    """The place up to which a destination has everything, and whether it is lost, in the followers' table.

    `guard` is called first in each transaction; it raises a LineageError where another process has taken over.
    """

    def __init__(self, engine: Engine, destination: str, guard: Callable[[Connection], None]) -> None:
        self._engine = engine
        self._guard = guard
        self.name = PREFIX + destination

    def load(self) -> tuple[int, str] | None:
        """The place and the reason of a loss (empty: none); None for a new destination."""
        with self._engine.connect() as connection:
            row = connection.execute(select(places).where(places.c.name == self.name)).one_or_none()
        return None if row is None else cursor_of(row)

    def store(self, place: int, lost: str) -> None:
        """Keep both, durably."""
        row = {"name": self.name, "version": _VERSION, "next_index": place, "snapshot": orjson.dumps({"lost": lost})}
        with self._engine.begin() as connection:
            self._guard(connection)
            connection.execute(kept(), [row])


class Delivery:
    """One destination at work. `opened` opens its source, in the thread that the source will live in."""

    def __init__(
        self,
        settings: DecisionLog,
        opened: Callable[[], Source],
        sink: Sink,
        cursor: Cursor,
        log: Log,
        boot: str,
        meter: Meter,
    ) -> None:
        self._settings = settings
        self._opened = opened
        self._sink = sink
        self._cursor = cursor
        self._log = log
        self._boot = boot
        self._meter = meter
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=cursor.name)
        self._source: Source | None = None
        self._next = -1
        self._lost = ""
        self._failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`; nothing ends it before. What is under way at the end will come again."""
        working, stopping = asyncio.ensure_future(self._work()), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
            await self._close()

    async def _work(self) -> None:
        while True:
            try:
                more = await self._turn()
            except Undelivered as error:
                pause = await self._failed(error)
            except ServerError as error:
                await self._tell_waiting()
                pause = await self._failed(Undelivered("policy", str(error)))
            except (LineageError, PolicyError, SQLAlchemyError, OSError) as error:
                pause = await self._failed(Undelivered("log", str(error.__cause__ or error)))
            except Exception as error:
                _log.exception("delivery_failed", destination=self._settings.id)
                pause = await self._failed(Undelivered("unexpected", f"unexpected {type(error).__name__}"))
            else:
                self._failures = 0
                pause = 0.0 if more else self._settings.min_delay_seconds
            await asyncio.sleep(pause)

    async def _turn(self) -> bool:
        """Deliver one batch; True when there may be more at once."""
        source = await self._begin()
        batch = await self._beside(source.batch, self._next)
        self._tell_lag(batch)
        entries, done = batch.entries, 0
        while done < len(entries):
            count = await self._sink.deliver(entries[done:])
            done += count
            place = entries[done].index if done < len(entries) else batch.next
            await self._back()
            await self._store(place, self._lost)
            self._meter.inc("cordon_decision_log_delivered_total", (self._settings.id,), count)
        if batch.next != self._next:
            await self._store(batch.next, self._lost)
        self._meter.inc("cordon_decision_log_masked_total", (self._settings.id,), batch.masked)
        self._meter.inc("cordon_decision_log_dropped_total", (self._settings.id,), batch.dropped)
        self._meter.set("cordon_decision_log_lag_records", batch.size - batch.next, (self._settings.id,))
        self._meter.set("cordon_decision_log_lag_seconds", 0, (self._settings.id,))
        return batch.more

    async def _begin(self) -> Source:
        """Open what is not open yet, and take up the cursor."""
        if self._source is None:
            self._source = await self._beside(self._opened)
        if self._next < 0:
            stored = await asyncio.to_thread(self._cursor.load)
            if stored is None:
                place = 0 if self._settings.begin == "beginning" else self._source.reader.size()
                await self._store(place, "")
            else:
                # A log that was restored may be shorter than it was.
                self._next, self._lost = min(stored[0], self._source.reader.size()), stored[1]
        return self._source

    async def _store(self, place: int, lost: str) -> None:
        await asyncio.to_thread(self._cursor.store, place, lost)
        self._next, self._lost = place, lost

    def _tell_lag(self, batch: Batch) -> None:
        labels = (self._settings.id,)
        self._meter.set("cordon_decision_log_lag_records", batch.size - self._next, labels)
        seconds = max(0.0, time.time() - batch.oldest / 1000) if batch.oldest else 0.0
        self._meter.set("cordon_decision_log_lag_seconds", seconds, labels)

    async def _tell_waiting(self) -> None:
        """The same of events that could not even be made."""
        if self._source is None or self._next < 0:
            return
        reader, labels = self._source.reader, (self._settings.id,)
        with suppress(LineageError):
            behind = await self._beside(reader.size) - self._next
            seconds = await self._beside(age_at, reader, self._next)
            self._meter.set("cordon_decision_log_lag_records", behind, labels)
            self._meter.set("cordon_decision_log_lag_seconds", seconds, labels)

    async def _failed(self, error: Undelivered) -> float:
        """Count and tell a failure; how long to wait, in seconds: longer each time, and never for two the same."""
        self._meter.inc("cordon_decision_log_failures_total", (self._settings.id, error.reason))
        if error.reason == "log":
            _log.warning("log_or_state_unreadable", destination=self._settings.id, problem=str(error))
        elif self._failures and error.reason != self._lost:  # a single failure may be a restart
            _log.warning("destination_lost", destination=self._settings.id, reason=error.reason, detail=str(error))
            detail = str(error)[:DETAIL_CHARACTERS]
            if await self._record("decision_log.lost", {"reason": error.reason, "detail": detail}):
                self._lost = error.reason
                with suppress(LineageError, SQLAlchemyError):
                    await self._store(self._next, error.reason)
        least, most = self._settings.min_delay_seconds, self._settings.max_delay_seconds
        pause: float = min(most, least * 2 ** min(self._failures, 32))
        self._failures += 1
        return pause * _DICE.uniform(0.5, 1.0)

    async def _back(self) -> None:
        if self._lost and await self._record("decision_log.back", {}):
            _log.info("destination_back", destination=self._settings.id)
            self._lost = ""

    async def _record(self, kind: str, facts: dict[str, object]) -> bool:
        """Write a record; False where the log does not take it now."""
        head = Stamp.now(self._boot).head(kind) | {"destination": self._settings.id}
        try:
            await self._log.append(encode(head | facts))
        except LineageError as error:
            _log.warning("not_recorded", kind=kind, problem=str(error))
            return False
        return True

    async def _beside(self, work: Callable[..., T], *arguments: object) -> T:
        """Do something in the source's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _close(self) -> None:
        if self._source is not None:
            await self._beside(self._source.close)
        self._thread.shutdown(wait=False)
