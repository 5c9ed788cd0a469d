"""The log-writer process: takes records over a Unix socket, commits them in groups and acknowledges what is durable.

The first waiting record starts a batch; the batch is committed as soon as the loop has read what lies ready on the
sockets. While a thread waits for the disk, the next batch gathers. Within a batch, the records of one connection
stay in order and have neighbouring indexes, so that one frame acknowledges them all.

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
from typing import Any, Final, cast

from lineage import wire
from lineage.connection import Append, Connection
from lineage.errors import LineageError, LogUnavailable, RecordError, WriterPresent
from lineage.job_thread import Done, Job, JobThread
from lineage.ledger import Controls, Ledger, writer_lock
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.record import decode
from lineage.settings import Lineage
from lineage.side_writer import Blobs, SideWriter

log = logging.getLogger("cordon.lineage.writer")

MAX_WAITING_BYTES: Final = 128 * 1_048_576
"""Records and side blobs that wait for the disk; over it appends are refused."""
LOCK_PATIENCE: Final = 3.0
"""Longest time in s to wait for somebody else to stop writing."""
MAX_CLIENTS: Final = 1_024
COMPLAINT_PAUSE: Final = 1.0
"""Least time in s between two lines of the process's log about the same kind of failure."""
SIZE_PAUSE: Final = 0.01
"""Least time in s between two notes of growth to one client."""

Batch = list[tuple[Connection, list[Append]]]
"""What one commit takes of each connection."""


class LogWriter:
    """Gathers the clients' appends, has them committed and tells everybody. Lives in one event loop.

    At any time at most one job, a commit or a checkpoint, is with the thread that owns the ledger; the loop touches
    the ledger only in between. `failed` ends with an error when the writer cannot go on.
    """

    def __init__(self, ledger: Ledger, side: SideWriter, settings: Lineage, meter: Meter) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = JobThread(self._loop, "log-commit")
        self._ledger = ledger
        self._side = side
        self._settings = settings
        self._clients: set[Connection] = set()
        self._ready: dict[Connection, None] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._busy = False
        self._stopping = False
        self._idle: asyncio.Future[None] | None = None
        self.failed: asyncio.Future[Any] = self._loop.create_future()
        self._checkpoint_due = False
        self._checkpoint_timer: asyncio.TimerHandle | None = None
        self._size_timer: asyncio.TimerHandle | None = None
        self._size = self._announced = ledger.size
        self._control = ledger.control
        self._complained: dict[str, float] = {}
        self._meter = meter
        self._commit_seconds = meter.histogram("cordon_log_commit_seconds")
        self._batch_records = meter.histogram("cordon_log_batch_records")
        self._queue_records = meter.gauge("cordon_log_queue_records")
        self._size_records = meter.gauge("cordon_log_size_records")
        self._size_records.set(ledger.size)
        self._side_bytes = meter.gauge("cordon_side_queue_bytes")
        if ledger.size != ledger.checkpointed:
            self._plan_checkpoint()

    def client(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self)

    def admit(self, client: Connection) -> bool:
        """Say whether there is room for another connection."""
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
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        """Give the thread its next job: a checkpoint when one is due, else a commit of what waits."""
        self._busy = True
        if self._checkpoint_due and not (self._stopping and self._ready):
            self._checkpoint_due = False
            self._do(self._ledger.checkpoint, self._checkpointed)
        elif self._ledger.untidy:
            self._do(self._ledger.tidy, self._tidied)
        elif self._ready:
            self._commit()
        else:
            self._busy = False
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)

    def _do(self, job: Job, done: Done) -> None:
        """Have the thread do a job, then `done` in the loop, then the next job."""

        def settle(result: object, error: BaseException | None) -> None:
            try:
                done(result, error)
                self._next()
            except Exception as fault:
                # Clients would wait for answers that never come: better to end, and be started again.
                if not self.failed.done():
                    self.failed.set_exception(fault)

        self._thread.do(job, settle)

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
        records = [append.record for append in appends]
        maybe_control = [position for position, append in enumerate(appends) if append.maybe_control]
        self._batch_records.observe(len(records))
        self._queue_records.set(self._waiting)
        start = time.perf_counter()

        def job() -> tuple[int, Controls]:
            return self._ledger.append(records, maybe_control)

        def done(appended: object, error: BaseException | None) -> None:
            self._waiting -= len(appends)
            self._waiting_bytes -= sum(append.weight for append in appends)
            if error is None:
                self._commit_seconds.observe(time.perf_counter() - start)
                self._tell(batch, *cast(tuple[int, Controls], appended))
            else:
                self._refuse(batch, len(records), error)
            self._ledger.grow()

        self._do(job, done)

    def _refuse(self, batch: Batch, count: int, error: BaseException) -> None:
        expected = isinstance(error, LineageError)
        reason = str(error) if expected else "the log writer failed; its log has the details"
        self._complain("%d records were refused: %s", count, reason, exc_info=None if expected else error)
        self._meter.inc("cordon_log_refused_total", ("store",), count)
        for client, appends in batch:
            client.refuse(appends, reason)

    def _complain(self, text: str, *values: object, exc_info: BaseException | None) -> None:
        """Log an error, but not each of a flood: a full disk refuses thousands of batches a second."""
        now = self._loop.time()
        if now >= self._complained.get(text, 0.0) + COMPLAINT_PAUSE:
            self._complained[text] = now
            log.error(text, *values, exc_info=exc_info)

    def _tell(self, batch: Batch, first: int, controls: Controls) -> None:
        """Send a commit's control records to all, then its acknowledgements; keep its side blobs, announce its size."""
        self._control = self._ledger.control
        if first != self._size:
            # A commit that was refused is there after all, found when the store was opened again.
            self._send(wire.WANTS_CONTROL, wire.welcome(first, self._control.dump()))
        elif controls:
            self._send(wire.WANTS_CONTROL, wire.control(controls))
        blobs: Blobs = []
        now = time.time_ns() // 1_000_000
        for client, appends in batch:
            client.acknowledge(appends, first)
            blobs += [(first + i, now, append.side) for i, append in enumerate(appends) if append.side is not None]
            first += len(appends)
        if blobs:
            self._side.put(blobs)
            self._side_bytes.set(self._side.waiting_bytes)
        self._size = first
        self._size_records.set(first)
        if self._size_timer is None:
            self._announce()
        if self._checkpoint_timer is None:
            self._plan_checkpoint()

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
            self._checkpoint_timer = self._loop.call_later(self._settings.checkpoint_seconds, self._ask_checkpoint)

    def _ask_checkpoint(self) -> None:
        self._checkpoint_timer = None
        self._checkpoint_due = True
        if not self._busy:
            self._next()

    def _checkpointed(self, note: object, error: BaseException | None) -> None:
        """A checkpoint was tried; when the disk did not take it, try again a little later."""
        if error is None:
            self._meter.set("cordon_log_checkpoint_records", self._ledger.checkpointed)
        else:
            expected = isinstance(error, LineageError)
            self._complain("a checkpoint could not be written: %s", error, exc_info=None if expected else error)
            self._meter.inc("cordon_log_checkpoint_failures_total")
            self._plan_checkpoint()

    def _tidied(self, _: object, error: BaseException | None) -> None:
        if error is not None:
            log.warning("housekeeping of the log's database has to wait: %s", error)

    async def finish(self) -> None:
        """Commit what waits, sign a last checkpoint and close the connections."""
        self._stopping = True
        for timer in (self._checkpoint_timer, self._size_timer):
            if timer is not None:
                timer.cancel()
        if not self.failed.done():
            self._ask_checkpoint()
        while self._busy and not self.failed.done():
            self._idle = self._loop.create_future()
            await asyncio.wait({self._idle, self.failed}, return_when=asyncio.FIRST_COMPLETED)
        self._thread.close()
        for client in list(self._clients):
            client.close()


async def run_writer(
    data_dir: Path, settings: Lineage, meter: Meter, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Be the log writer of a data directory until `stop` is set; `ready` is called once clients can connect.

    Raises LogUnavailable when another writer is at work or the log cannot be opened, KeyFileError when a key is
    missing or open to others, VerificationError when the log does not fit its last checkpoint.
    """
    paths = Paths(data_dir)
    async with AsyncExitStack() as stack:
        await _enter_lock(stack, data_dir)
        ledger = Ledger(data_dir, settings)
        stack.callback(ledger.close)
        listening = _bind(paths.socket)
        stack.callback(listening.close)
        side = SideWriter(paths.side, settings, meter)
        stack.callback(side.close)
        writer = LogWriter(ledger, side, settings, meter)
        stack.push_async_callback(writer.finish)
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
