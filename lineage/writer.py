"""The log-writer process: takes records over a Unix socket, commits them in groups and acknowledges what is durable.

The first waiting record starts a batch; the batch is committed as soon as the loop has read what lies ready on the
sockets. The commit runs in the loop itself: while it waits for the disk, the next batch gathers in the sockets, and
nothing is lost by that. (Handing each commit to a thread was measured beside it: .05 ms more for a single record, a
third less throughput.) Within a batch, the records of one connection stay in order and have neighbouring indexes, so
that one frame acknowledges them all.

After a commit its control records go to every subscriber before any acknowledgement, so that nobody can act on an
index without knowing what held there.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from lineage import wire
from lineage.connection import Append, Connection
from lineage.errors import LineageError, LogUnavailable, RecordError, WriterPresent
from lineage.ledger import Controls, Ledger, writer_lock
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.record import decode, encode
from lineage.retention import Retention
from lineage.settings import Lineage
from lineage.side_place import SidePlace
from lineage.side_writer import Blobs, SideWriter

log = logging.getLogger("cordon.lineage.writer")

MAX_WAITING_BYTES: Final = 128 * 1_048_576
"""Records and side blobs that wait for the disk; over it appends are refused."""
LOCK_PATIENCE: Final = 3.0
"""Longest time in s to wait for somebody else on this machine to stop writing."""
LOOK_SECONDS: Final = 0.1
"""How often a log that other machines write to as well is looked at."""
MAX_CLIENTS: Final = 1_024
COMPLAINT_PAUSE: Final = 1.0
"""Least time in s between two lines of the process's log about the same kind of failure."""
SIZE_PAUSE: Final = 0.01
"""Least time in s between two notes of growth to one client."""

Batch = list[tuple[Connection, list[Append]]]
"""What one commit takes of each connection."""


class LogWriter:
    """Gathers the clients' appends, has them committed and tells everybody. Lives in one event loop.

    `failed` ends with an error when the writer cannot go on.
    """

    def __init__(self, ledger: Ledger, side: SideWriter, settings: Lineage, meter: Meter, boot: str = "") -> None:
        self._loop = asyncio.get_running_loop()
        self._ledger = ledger
        self._side = side
        self._settings = settings
        self._clients: set[Connection] = set()
        self._ready: dict[Connection, None] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._scheduled = False
        self._stopping = False
        self.failed: asyncio.Future[Any] = self._loop.create_future()
        self._checkpoint_timer: asyncio.TimerHandle | None = None
        self._size_timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._size = self._announced = ledger.size
        self._control = ledger.control
        self._readings = ledger.readings
        self._complained: dict[str, float] = {}
        self._meter = meter
        self._commit_seconds = meter.histogram("cordon_log_commit_seconds")
        self._batch_records = meter.histogram("cordon_log_batch_records")
        self._queue_records = meter.gauge("cordon_log_queue_records")
        self._size_records = meter.gauge("cordon_log_size_records")
        self._size_records.set(ledger.size)
        self._checkpoint_records = meter.gauge("cordon_log_checkpoint_records")
        self._side_bytes = meter.gauge("cordon_side_queue_bytes")
        self._standby = meter.gauge("cordon_log_standby")
        self._standby.set(int(not ledger.elected))
        self._retention = Retention(
            ledger, settings.records_days, boot or "log-writer", meter, self._append_own, self._complain
        )
        if ledger.size != ledger.checkpointed:
            self._plan_checkpoint()
        if ledger.shared:
            self._look_timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def client(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self)

    def admit(self, client: Connection) -> bool:
        """Say whether there is room for another connection; there is none any more when the writer is ending."""
        if self._stopping:
            return False
        if len(self._clients) >= MAX_CLIENTS:
            log.warning("the log writer has %d clients already; another one was turned away", MAX_CLIENTS)
            return False
        self._clients.add(client)
        self._meter.set("cordon_log_clients", len(self._clients))
        return True

    def leave(self, client: Connection) -> None:
        """Forget a connection. What it asked for is still committed: an outcome must not get lost with its caller."""
        self._clients.discard(client)
        self._meter.set("cordon_log_clients", len(self._clients))

    def welcome(self, client: Connection) -> None:
        """Answer a client's first frame with the log's size and the control state."""
        state = self._control.dump() if client.flags & wire.WANTS_CONTROL else b""
        client.send(wire.welcome(self._size, state))

    def offer(self, client: Connection, append: Append) -> None:
        """Put an append into the next batch; LogUnavailable when the queue is full, RecordError if malformed."""
        size = append.weight
        if self._stopping:
            raise LogUnavailable("the log writer is stopping")
        if (
            self._waiting >= self._settings.queue
            or self._waiting_bytes + self._side.waiting_bytes + size > MAX_WAITING_BYTES
        ):
            self._meter.inc("cordon_log_refused_total", ("queue_full",))
            raise LogUnavailable("too many records wait for the disk")
        if append.maybe_control:
            try:
                self._control.fold(decode(append.record), self._size)
            except RecordError:
                self._meter.inc("cordon_log_refused_total", ("malformed",))
                raise
        client.waiting.append(append)
        self._ready[client] = None
        self._waiting += 1
        self._waiting_bytes += size
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """Commit a batch of what waits, and come back when that was not all."""
        self._scheduled = False
        try:
            self._commit()
        except Exception as fault:
            # Clients would wait for answers that never come: better to end, and be started again.
            if not self.failed.done():
                self.failed.set_exception(fault)
        if self._ready:
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _take_batch(self) -> Batch:
        """Take what waits, up to the size of a batch; a client with more than its share goes to the end of the line."""
        batch = []
        room = self._settings.batch
        while self._ready and room:
            client = next(iter(self._ready))
            del self._ready[client]
            taken = client.waiting[:room]
            client.waiting = client.waiting[room:]
            if client.waiting:
                self._ready[client] = None
            room -= len(taken)
            batch.append((client, taken))
        return batch

    def _commit(self) -> None:
        batch = self._take_batch()
        appends = [append for _, taken in batch for append in taken]
        if not appends:
            return
        records = [append.record for append in appends]
        maybe_control = [position for position, append in enumerate(appends) if append.maybe_control]
        self._batch_records.observe(len(records))
        self._waiting -= len(appends)
        self._queue_records.set(self._waiting)
        self._waiting_bytes -= sum(append.weight for append in appends)
        start = time.perf_counter()
        try:
            first, controls = self._ledger.append(records, maybe_control)
        except LineageError as error:
            self._refuse(batch, len(records), error)
            return
        self._commit_seconds.observe(time.perf_counter() - start)
        self._tell(batch, first, controls)
        try:
            self._ledger.grow()
        except LineageError as error:
            self._complain("the log could not be read: %s", error)
        if self._ledger.untidy:
            self._tidy()

    def _tidy(self) -> None:
        try:
            self._ledger.tidy()
        except LogUnavailable as error:
            self._complain("housekeeping of the log's database has to wait: %s", error)

    def _refuse(self, batch: Batch, count: int, error: LineageError) -> None:
        self._complain("%d records were refused: %s", count, error)
        self._meter.inc("cordon_log_refused_total", ("store",), count)
        for client, appends in batch:
            client.refuse(appends, str(error))

    def _complain(self, text: str, *values: object) -> None:
        """Log an error, but not each of a flood: a full disk refuses thousands of batches a second."""
        now = self._loop.time()
        if now >= self._complained.get(text, 0.0) + COMPLAINT_PAUSE:
            self._complained[text] = now
            log.error(text, *values)

    def _tell(self, batch: Batch, first: int, controls: Controls) -> None:
        """Send a commit's control records to all, then its acknowledgements; keep its side blobs, announce its size."""
        if not self._tell_control() and controls:
            self._send(wire.WANTS_CONTROL, wire.control(controls))
        blobs: Blobs = []
        now = time.time_ns() // 1_000_000
        for client, appends in batch:
            client.acknowledge(appends, first)
            blobs += [(now, append.side) for append in appends if append.side is not None]
            first += len(appends)
        if blobs:
            self._side.put(blobs)
            self._side_bytes.set(self._side.waiting_bytes)
        self._grown(first)

    def _tell_control(self) -> bool:
        """Send the control state whole when it was read again, since then others have changed it."""
        self._control = self._ledger.control
        if self._readings == self._ledger.readings:
            return False
        self._readings = self._ledger.readings
        self._send(wire.WANTS_CONTROL, wire.state(self._control.dump()))
        return True

    def _grown(self, size: int) -> None:
        self._size = size
        self._size_records.set(size)
        if self._size_timer is None:
            self._announce()
        if self._checkpoint_timer is None:
            self._plan_checkpoint()

    def _look(self) -> None:
        """Find out, and tell the clients, what other machines have done to the log."""
        try:
            self._ledger.look()
        except LineageError as error:
            self._complain("the log could not be looked at: %s", error)
        except Exception as fault:
            if not self.failed.done():
                self.failed.set_exception(fault)
            return
        else:
            self._tell_control()
            if self._ledger.size != self._size:
                self._grown(self._ledger.size)
            if self._standby.value == self._ledger.elected:
                self._standby.set(int(not self._ledger.elected))
                log.info("this log writer %s", "signs the checkpoints now" if self._ledger.elected else "stands by")
        if not self._stopping:
            self._look_timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _append_own(self, record: dict[str, object]) -> None:
        first, controls = self._ledger.append([encode(record)], [0])
        if not self._tell_control() and controls:
            self._send(wire.WANTS_CONTROL, wire.control(controls))
        self._grown(first + 1)

    def _send(self, flag: int, data: bytes) -> None:
        """Send to all who asked for this kind of news."""
        for client in list(self._clients):
            if client.flags & flag:
                client.send(data)

    def _announce(self) -> None:
        """Tell the log's size to those who follow it, now and then not again for a moment."""
        self._size_timer = None
        if self._size == self._announced:
            return
        self._announced = self._size
        self._send(wire.WANTS_SIZE, wire.size(self._size))
        self._size_timer = self._loop.call_later(SIZE_PAUSE, self._announce)

    def _plan_checkpoint(self) -> None:
        if not self._stopping:
            self._checkpoint_timer = self._loop.call_later(self._settings.checkpoint_seconds, self._checkpoint)

    def _checkpoint(self) -> None:
        """Sign what is new; when the disk does not take it, try again a little later."""
        self._checkpoint_timer = None
        try:
            self._ledger.checkpoint()
        except LineageError as error:
            self._complain("a checkpoint could not be written: %s", error)
            self._meter.inc("cordon_log_checkpoint_failures_total")
            self._plan_checkpoint()
        else:
            self._checkpoint_records.set(self._ledger.checkpointed)
            self._retention.plan()

    def finish(self) -> None:
        """Commit what waits, sign a last checkpoint and close the connections."""
        self._stopping = True
        for timer in (self._checkpoint_timer, self._size_timer, self._look_timer):
            if timer is not None:
                timer.cancel()
        while self._ready and not self.failed.done():
            self._next()
        self._checkpoint()
        self._retention.close()
        for client in list(self._clients):
            client.close()


async def run_writer(
    data_dir: Path,
    settings: Lineage,
    meter: Meter,
    stop: asyncio.Event,
    ready: Callable[[], None],
    database: str = "",
    boot: str = "",
) -> None:
    """Be the log writer of a data directory until `stop` is set; `ready` is called once clients can connect.

    `database` is the setting of that name. On PostgreSQL other machines' writers append as well, and one of them, which
    may be this one, is elected to sign the checkpoints. `boot` names this life in the records that the writer makes.

    Raises LogUnavailable when another writer is at work or the log cannot be opened, KeyFileError when a key is
    missing or open to others, VerificationError when the log does not fit its last checkpoint.
    """
    paths = Paths(data_dir)
    async with AsyncExitStack() as stack:
        await _enter_lock(stack, data_dir)
        ledger = Ledger(data_dir, settings, database)
        stack.callback(ledger.close)
        listening = _bind(paths.socket)
        stack.callback(listening.close)
        side = SideWriter(SidePlace(data_dir, database).side, settings, meter)
        stack.callback(side.close)
        writer = LogWriter(ledger, side, settings, meter, boot)
        stack.callback(writer.finish)
        server = await asyncio.get_running_loop().create_unix_server(writer.client, sock=listening)
        stack.callback(server.close)
        ready()
        stopping: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        stack.callback(stopping.cancel)
        await asyncio.wait([stopping, writer.failed], return_when=asyncio.FIRST_COMPLETED)
        if writer.failed.done():
            await writer.failed


async def _enter_lock(stack: AsyncExitStack, data_dir: Path) -> None:
    """Take the writer's lock. The command line may hold it for a moment; a writer that stays is an error."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            stack.enter_context(writer_lock(data_dir))
            return
        except WriterPresent:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


def _bind(path: Path) -> socket.socket:
    """Listen where only the owner may connect. The lock is ours, so a socket that is still there is nobody's."""
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(0o600)
        return sock
    except OSError as error:
        sock.close()
        raise LogUnavailable(f"{path}: {error.strerror or error}; a shorter data_dir may help") from error
