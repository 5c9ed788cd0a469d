"""Follows the log by index and shows each record to the consumers that want its kind.

In order, at least once. The place in the log and every consumer's snapshot are stored in one transaction, and only
while nothing waits to be written: whatever lies before a stored place has had all its effects. After a crash the
records from that place on are shown again; the outbox strikes out what was written already.

    wake → read a batch → observe → write what was emitted → (once a second) store → wait

Waking comes from the log writer's notice of a commit. After a batch that led to nothing there is a short pause, so that
under load a batch holds many records and the gateway, on the same cores, is not kept waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import orjson
import structlog
from sqlalchemy import BigInteger, Column, Connection, Engine, Executable, Integer, LargeBinary, Row, Table, select
from sqlalchemy.exc import SQLAlchemyError

from detectors import peek
from detectors.consumer import Consumer
from detectors.outbox import Outbox
from detectors.settings import Detection
from lineage.errors import LineageError
from lineage.metrics import Meter
from lineage.state import Text, insert, metadata

PAUSE_SECONDS = 0.02
IDLE_SECONDS = 1.0
"""Without any notice the log is looked at this often: a notice may be lost while the writer restarts."""
RETRY_SECONDS = 0.2
MOST_WAITING = 10_000
STORE_SHARE = 20
"""A store that took a second is followed by this many seconds without one: storing stays a small part of the work."""
LONGEST_STORE_PAUSE = 10.0
"""But by no more: what was stored last is where a crash begins again."""

_log = structlog.get_logger("cordon.detectors")

places = Table(
    "followers",
    metadata,
    Column("name", Text(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("next_index", BigInteger, nullable=False),
    Column("snapshot", LargeBinary, nullable=False, doc="JSON"),
)


def kept() -> Executable:
    """The statement that stores rows of `places`, in the place of those of the same name."""
    new = insert(places)
    changed = {name: new.excluded[name] for name in ("version", "next_index", "snapshot")}
    return new.on_conflict_do_update(index_elements=["name"], set_=changed)


class Reader(Protocol):
    """Where the log is read; `LogReader` is one."""

    def size(self) -> int:
        """How many records are committed."""

    def read(self, start: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` records from index `start` on, each with its index."""


class Follower:
    """Runs consumers over the log. One follower at a time works on one state database."""

    def __init__(
        self,
        reader: Reader,
        engine: Engine,
        outbox: Outbox,
        consumers: Sequence[Consumer],
        settings: Detection,
        awake: asyncio.Event,
        meter: Meter,
        guard: Callable[[Connection], None] = lambda _connection: None,
    ) -> None:
        """`engine` is the state database; `awake` is set by whoever learns that the log has grown.

        `guard` is called first in each transaction that stores; it raises a LineageError where another follower has
        taken over.
        """
        self._reader = reader
        self._engine = engine
        self._outbox = outbox
        self._consumers = consumers
        self._settings = settings
        self._awake = awake
        self._meter = meter
        self._guard = guard
        self._seen = meter.counter("cordon_follower_records_total")
        self._routes: dict[bytes, list[tuple[int, Consumer]]] = {}
        self._next = 0
        self._certain = 0
        """The log's size when writing was last in doubt; nothing is written before it has been read that far."""
        self._stored = -1
        self._statements: list[Executable] = []
        self._storing: asyncio.Task[None] | None = None
        self._store_after = 0.0
        """No store before this moment of the monotonic clock."""

    @property
    def position(self) -> int:
        """The index of the record to be read next."""
        return self._next

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Follow the log until `stop`; `ready` is called once all that was there at the start was seen and acted on."""
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._awake.set())
        told = False
        try:
            await self._begin(stop)
            while not stop.is_set():
                self._awake.clear()
                await self._wait(await self._safe_turn())
                if not told and self._next >= self._certain and not len(self._outbox):
                    told = True
                    ready()
            await self._finish()
        finally:
            stopping.cancel()

    async def _safe_turn(self) -> float:
        try:
            return await self._turn()
        except LineageError as error:
            _log.warning("log_unreadable", problem=str(error))
            await asyncio.sleep(RETRY_SECONDS)
            return 0.0

    async def _turn(self) -> float:
        """One batch and what follows from it; how long to wait for a notice before the next, in seconds."""
        before = self._next
        more = self.observe_batch()
        waiting = len(self._outbox)
        if not await self._write():
            await asyncio.sleep(RETRY_SECONDS)
            self._certain = self._reader.size()
            return 0.0
        self._store_if_due()
        self._meter.set("cordon_follower_waiting_records", len(self._outbox))
        self._meter.set("cordon_follower_lag_records", self._reader.size() - self._next if more else 0)
        if self._next > before and not waiting:
            await asyncio.sleep(PAUSE_SECONDS)
        return 0.0 if more else self._idle_seconds()

    async def _begin(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                stored = await asyncio.to_thread(self.stored)
                self.restore(self._reader.size(), stored)
                return
            except (LineageError, SQLAlchemyError) as error:
                _log.warning("follower_waits", problem=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def stored(self) -> dict[str, Row[tuple[object, ...]]]:
        """What is stored of each consumer, by its name; it waits for the database."""
        with self._engine.connect() as connection:
            return {row.name: row for row in connection.execute(select(places))}

    def restore(self, size: int, stored: Mapping[str, Row[tuple[object, ...]]]) -> None:
        """Take up each consumer's stored place and snapshot, where the log has `size` records now."""
        self._next = self._certain = size
        for consumer in self._consumers:
            row = stored.get(consumer.name)
            place = 0 if consumer.whole_log else max(0, size - self._settings.lookback)
            if row is not None and row.version == consumer.version and row.next_index <= size:
                place = row.next_index
                self._restore(consumer, row.snapshot)
            self._next = min(self._next, place)
            for kind in consumer.kinds:
                self._routes.setdefault(kind, []).append((place, consumer))

    def _restore(self, consumer: Consumer, snapshot: bytes) -> None:
        """A snapshot that cannot be read costs what was learned, not detection."""
        try:
            consumer.restore(orjson.loads(snapshot))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            _log.error("snapshot_unreadable", consumer=consumer.name, problem=f"{type(error).__name__}: {error}")

    def observe_batch(self) -> bool:
        """Read one batch and show it to the consumers; True when there may be more to read."""
        batch = self._reader.read(self._next, self._settings.batch)
        routes, outbox = self._routes, self._outbox
        for index, record in batch:
            kind = peek.kind(record)
            if len(outbox):
                outbox.strike_out(kind, record)
            for place, consumer in routes.get(kind, ()):
                if index >= place:
                    self._show(consumer, index, kind, record)
        if batch:
            self._next = batch[-1][0] + 1
            self._seen.inc(len(batch))
        return len(batch) == self._settings.batch

    def _show(self, consumer: Consumer, index: int, kind: bytes, record: bytes) -> None:
        """A consumer that fails on a record goes on with the next: one odd record must not end all detection."""
        try:
            emissions = consumer.observe(index, kind, record)
        except Exception as error:
            self._meter.inc("cordon_follower_failures_total", (consumer.name,))
            _log.exception("consumer_failed", consumer=consumer.name, index=index, problem=type(error).__name__)
            return
        if emissions:
            self._outbox.put(emissions)

    async def _write(self) -> bool:
        """Write what waits, unless it could be in the part of the log that is still to be read."""
        if self._next < self._certain and len(self._outbox) < MOST_WAITING:
            return True
        return await self._outbox.flush()

    def _idle_seconds(self) -> float:
        if self._storing is not None or not self._unstored:
            return IDLE_SECONDS
        return min(IDLE_SECONDS, max(0.0, self._store_after - time.monotonic()) + 0.001)

    async def _wait(self, seconds: float) -> None:
        """Wait for a notice, or so long."""
        if seconds > 0 and not self._awake.is_set():
            timer = asyncio.get_running_loop().call_later(seconds, self._awake.set)
            await self._awake.wait()
            timer.cancel()

    @property
    def _unstored(self) -> bool:
        return self._next != self._stored or bool(self._statements)

    def _store_if_due(self) -> None:
        """Start to store; what was projected is stored at once, since people wait to see it."""
        for consumer in self._consumers:
            writes = consumer.writes()
            if writes:
                self._statements += writes
                self._store_after = 0.0
        if self._storing is None and self._unstored and not len(self._outbox) and time.monotonic() >= self._store_after:
            self._begin_store()

    def _begin_store(self) -> None:
        """Take place, snapshots and projections now, and have them stored without holding up the loop.

        They are taken here and not in the task: before that runs, more may be observed whose effects are not written
        yet, and a place beyond them would lose these effects in a crash.
        """
        assert not len(self._outbox)
        place, statements = self._next, list(self._statements)
        rows = [
            {"name": c.name, "version": c.version, "next_index": place, "snapshot": orjson.dumps(c.snapshot())}
            for c in self._consumers
        ]
        self._storing = asyncio.create_task(self._store(place, rows, statements))

    async def _store(self, place: int, rows: Sequence[dict[str, object]], statements: Sequence[Executable]) -> None:
        started = time.monotonic()
        pause = self._settings.cursor_seconds
        try:
            await asyncio.to_thread(self._commit, rows, statements)
            self._stored = place
            del self._statements[: len(statements)]
            pause = max(pause, min((time.monotonic() - started) * STORE_SHARE, LONGEST_STORE_PAUSE))
        except (LineageError, SQLAlchemyError) as error:
            _log.warning("place_not_stored", problem=str(error.__cause__ or error))
        finally:
            # What was projected meanwhile is waited for by people, however long this took.
            self._store_after = time.monotonic() + (RETRY_SECONDS if self._statements else pause)
            self._storing = None
            self._awake.set()

    def _commit(self, rows: Sequence[dict[str, object]], statements: Sequence[Executable]) -> None:
        with self._engine.begin() as connection:
            self._guard(connection)
            for statement in statements:
                connection.execute(statement)
            connection.execute(kept(), rows)

    async def _finish(self) -> None:
        """Store once more, so that the next start has nothing to see again."""
        if self._storing is not None:
            await self._storing
        self._store_after = 0.0
        self._store_if_due()
        if self._storing is not None:
            await self._storing
