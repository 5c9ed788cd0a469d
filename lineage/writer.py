"""The log-writer process: takes records over a Unix socket, commits them in groups and acknowledges what is durable.

The first waiting record starts a batch; the batch is committed as soon as the loop has read what lies ready on the
sockets. While a commit waits for the disk, the kernel gathers the next batch in the sockets' buffers: measured,
this beats handing the commit to a thread, which costs two thread switches a commit. Within a batch, the records of
one connection stay in order and have neighbouring indexes, so that one frame acknowledges them all.

After a commit its control records go to every subscriber before any acknowledgement, so that nobody can act on an
index without knowing what held there.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, cast

from lineage import wire
from lineage.control import may_control
from lineage.errors import LineageError, LogUnavailable, RecordError
from lineage.ledger import Controls, Ledger, writer_lock
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.settings import Lineage
from lineage.side_writer import Blobs, SideWriter

log = logging.getLogger("cordon.lineage.writer")

MAX_WAITING_BYTES: Final = 128 * 1_048_576
"""Records and side blobs that wait for the disk; over it appends are refused."""
MAX_UNREAD_BYTES: Final = 64 * 1_048_576
"""Frames that a client has not read; over it the client is cut off."""
MAX_CLIENTS: Final = 1_024
SIZE_PAUSE: Final = 0.01
"""Least time in s between two notes of growth to one client."""


Waiting = tuple[int, bytes, bytes | None, bool]
"""An append that waits for its commit: sequence number, record, side blob, whether it may be a control record."""


class _Client(asyncio.Protocol):
    """One connection: decodes its frames into its part of the next batch."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._decoder = wire.Decoder(wire.MAX_TO_WRITER)
        self._transport: asyncio.Transport | None = None
        self._next = 0
        self.flags = 0
        self.greeted = False
        self.waiting: list[Waiting] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._writer.admit(self):
            self.cut()

    def data_received(self, data: bytes) -> None:
        try:
            for kind, payload in self._decoder.feed(data):
                if self.greeted:
                    record, side = wire.parse_append(kind, payload)
                    self._take(record, side)
                elif kind == wire.HELLO:
                    self.flags = wire.parse_hello(payload)
                    self.greeted = True
                    self._writer.welcome(self)
                else:
                    raise wire.WireError("a connection begins with HELLO")
        except wire.WireError as error:
            log.warning("a client of the log writer was cut off: %s", error)
            self.cut()

    def _take(self, record: bytes, side: bytes | None) -> None:
        sequence = self._next
        self._next = sequence + 1
        try:
            self._writer.offer(self, (sequence, record, side, may_control(record)))
        except LineageError as error:
            self.send(wire.refused(sequence, 1, str(error)))

    def acknowledge(self, appends: list[Waiting], first: int) -> None:
        """Say that appends have the indexes from `first` on."""
        for sequence, count in _runs(appends):
            self.send(wire.ack(sequence, count, first))
            first += count

    def refuse(self, appends: list[Waiting], reason: str) -> None:
        """Say that none of the appends is in the log."""
        for sequence, count in _runs(appends):
            self.send(wire.refused(sequence, count, reason))

    def send(self, data: bytes) -> None:
        """Write frames; a client that does not read them is cut off."""
        if self._transport is None:
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            log.warning("a client of the log writer does not read its answers and was cut off")
            self.cut()

    def close(self) -> None:
        """Close the connection once everything is written."""
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writer.leave(self)


def _runs(appends: list[Waiting]) -> Iterator[tuple[int, int]]:
    """Yield (sequence number, count) of the neighbouring ones; a refusal in between parts them."""
    start = 0
    first = appends[0][0]
    if appends[-1][0] - first != len(appends) - 1:
        for position, (sequence, *_) in enumerate(appends):
            if sequence - appends[start][0] != position - start:
                yield appends[start][0], position - start
                start = position
    yield appends[start][0], len(appends) - start


class LogWriter:
    """Gathers the clients' appends, commits them and tells everybody. Lives in one event loop."""

    def __init__(self, ledger: Ledger, side: SideWriter, settings: Lineage, meter: Meter) -> None:
        self._loop = asyncio.get_running_loop()
        self._ledger = ledger
        self._side = side
        self._settings = settings
        self._clients: set[_Client] = set()
        self._ready: dict[_Client, None] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._scheduled = False
        self._checkpoint_timer: asyncio.TimerHandle | None = None
        self._size_timer: asyncio.TimerHandle | None = None
        self._announced = ledger.size
        self._meter = meter
        self._commit_seconds = meter.histogram("cordon_log_commit_seconds")
        self._batch_records = meter.histogram("cordon_log_batch_records")
        self._queue_records = meter.gauge("cordon_log_queue_records")
        self._size_records = meter.gauge("cordon_log_size_records")
        self._side_bytes = meter.gauge("cordon_side_queue_bytes")
        self._size_records.set(ledger.size)
        if ledger.size != ledger.checkpointed:
            self._plan_checkpoint()

    def client(self) -> _Client:
        """Return the protocol of a new connection."""
        return _Client(self)

    def admit(self, client: _Client) -> bool:
        """Say whether there is room for another connection."""
        if len(self._clients) >= MAX_CLIENTS:
            log.warning("the log writer has %d clients already; another one was turned away", MAX_CLIENTS)
            return False
        self._clients.add(client)
        self._meter.set("cordon_log_clients", len(self._clients))
        return True

    def leave(self, client: _Client) -> None:
        """Forget a connection. What it asked for is still committed: an outcome must not get lost with its caller."""
        self._clients.discard(client)
        self._meter.set("cordon_log_clients", len(self._clients))

    def welcome(self, client: _Client) -> None:
        """Answer a client's first frame with the log's size and the control state."""
        state = self._ledger.control.dump() if client.flags & wire.WANTS_CONTROL else b""
        client.send(wire.welcome(self._ledger.size, state))

    def offer(self, client: _Client, append: Waiting) -> None:
        """Put an append into the next batch; LogUnavailable when the queue is full, RecordError if malformed."""
        _, record, side, controlling = append
        size = len(record) + (0 if side is None else len(side))
        if (
            self._waiting >= self._settings.queue
            or self._waiting_bytes + self._side.waiting_bytes + size > MAX_WAITING_BYTES
        ):
            self._meter.inc("cordon_log_refused_total", ("queue_full",))
            raise LogUnavailable("too many records wait for the disk")
        if controlling:
            try:
                self._ledger.check_control(record)
            except RecordError:
                self._meter.inc("cordon_log_refused_total", ("malformed",))
                raise
        client.waiting.append(append)
        self._ready[client] = None
        self._waiting += 1
        self._waiting_bytes += size
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._commit)

    def _take_batch(self) -> list[tuple[_Client, list[Waiting]]]:
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
        self._scheduled = False
        batch = self._take_batch()
        waiting = [append for _, appends in batch for append in appends]
        if not waiting:
            return
        records = [record for _, record, _, _ in waiting]
        first = self._ledger.size
        self._batch_records.observe(len(records))
        self._queue_records.set(self._waiting)
        start = time.perf_counter()
        try:
            controls = self._ledger.append(records, [i for i, append in enumerate(waiting) if append[3]])
        except LineageError as error:
            self._refuse(batch, len(records), str(error))
        else:
            self._commit_seconds.observe(time.perf_counter() - start)
            self._tell(batch, first, controls)
        self._settle(waiting)
        self._ledger.grow()
        self._ledger.tidy()

    def _settle(self, appends: list[Waiting]) -> None:
        """Take a dealt-with batch out of the account, and go on with the next one."""
        self._waiting -= len(appends)
        self._waiting_bytes -= sum([len(record) + (0 if side is None else len(side)) for _, record, side, _ in appends])
        if self._ready and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._commit)

    def _refuse(self, batch: list[tuple[_Client, list[Waiting]]], count: int, reason: str) -> None:
        log.error("%d records were refused: %s", count, reason)
        self._meter.inc("cordon_log_refused_total", ("store",), count)
        for client, appends in batch:
            client.refuse(appends, reason)

    def _tell(self, batch: list[tuple[_Client, list[Waiting]]], first: int, controls: Controls) -> None:
        """Send a commit's control records to all, then its acknowledgements; keep its side blobs, announce its size."""
        if controls:
            changes = wire.control(controls)
            for client in list(self._clients):
                if client.flags & wire.WANTS_CONTROL:
                    client.send(changes)
        blobs: Blobs = []
        now = time.time_ns() // 1_000_000
        for client, appends in batch:
            client.acknowledge(appends, first)
            blobs += [(first + i, now, side) for i, (_, _, side, _) in enumerate(appends) if side is not None]
            first += len(appends)
        if blobs:
            self._side.put(blobs)
            self._side_bytes.set(self._side.waiting_bytes)
        self._size_records.set(first)
        if self._size_timer is None:
            self._announce()
        if self._checkpoint_timer is None:
            self._plan_checkpoint()

    def _announce(self) -> None:
        """Tell the log's size to those who follow it, now and then not again for a moment."""
        self._size_timer = None
        size = self._ledger.size
        if size == self._announced:
            return
        self._announced = size
        note = wire.size(size)
        for client in list(self._clients):
            if client.flags & wire.WANTS_SIZE:
                client.send(note)
        self._size_timer = self._loop.call_later(SIZE_PAUSE, self._announce)

    def _plan_checkpoint(self) -> None:
        self._checkpoint_timer = self._loop.call_later(self._settings.checkpoint_seconds, self.checkpoint)

    def checkpoint(self) -> None:
        """Sign what is new; when the disk does not take it, try again a little later."""
        self._checkpoint_timer = None
        try:
            self._ledger.checkpoint()
            self._meter.set("cordon_log_checkpoint_records", self._ledger.checkpointed)
        except LineageError as error:
            log.error("the checkpoint could not be written: %s", error)
            self._meter.inc("cordon_log_checkpoint_failures_total")
            self._plan_checkpoint()

    def finish(self) -> None:
        """Commit what waits, sign a last checkpoint and close the connections."""
        while self._ready:
            self._commit()
        self.checkpoint()
        for timer in (self._checkpoint_timer, self._size_timer):
            if timer is not None:
                timer.cancel()
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
    with writer_lock(data_dir):
        ledger = Ledger(data_dir, settings)
        side = SideWriter(paths.side, settings, meter)
        try:
            writer = LogWriter(ledger, side, settings, meter)
            server = await asyncio.get_running_loop().create_unix_server(writer.client, sock=_bind(paths.socket))
            try:
                ready()
                await stop.wait()
            finally:
                server.close()
                writer.finish()
        finally:
            side.close()
            ledger.close()


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
