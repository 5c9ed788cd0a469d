"""The log for the command line: synchronous, with or without a running writer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from lineage import wire
from lineage.control import ControlState, may_control
from lineage.errors import LineageError, LogUnavailable, WriterPresent
from lineage.ledger import Ledger, writer_lock
from lineage.paths import Paths
from lineage.reader import LogReader, open_reader
from lineage.settings import Lineage

PATIENCE: Final = 10.0
"""Longest time in s that opening the log, or one append, may take."""


class Log(Protocol):
    """The log as the command line sees it."""

    @property
    def reader(self) -> LogReader:
        """Read access."""
        ...

    @property
    def control(self) -> ControlState:
        """The control state after everything that is in the log."""
        ...

    def append(self, record: bytes) -> int:
        """Append a record and return its index once it is on the disk; LogUnavailable when that fails."""
        ...


class _OwnLog:
    """The log of a data directory on which no writer runs: this process is the writer for the moment."""

    def __init__(self, ledger: Ledger, reader: LogReader) -> None:
        self._ledger = ledger
        self.reader = reader

    @property
    def control(self) -> ControlState:
        return self._ledger.control

    def append(self, record: bytes) -> int:
        index, _ = self._ledger.append([record], [0] if may_control(record) else [])
        return index

    def close(self) -> None:
        with suppress(LineageError):  # Without a checkpoint the records are in the log all the same.
            self._ledger.checkpoint()
            while self._ledger.prune():
                if self._ledger.untidy:
                    self._ledger.tidy()
        self.reader.close()


class _RemoteLog:
    """The log of a running writer, over a blocking socket."""

    def __init__(self, path: Path, reader: LogReader) -> None:
        self.reader = reader
        self._decoder = wire.Decoder(wire.MAX_TO_CLIENT)
        self._frames: list[tuple[int, bytes]] = []
        self._next = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        try:
            self._socket.connect(str(path))
            self._socket.sendall(wire.hello(0))
            self._frame()
        except OSError as error:
            self._socket.close()
            raise LogUnavailable(f"no log writer answers at {path}") from error

    @property
    def control(self) -> ControlState:
        return self.reader.control()

    def append(self, record: bytes) -> int:
        try:
            self._socket.sendall(wire.append(record, None))
            kind, payload = self._frame()
        except OSError as error:
            raise LogUnavailable("the connection to the log writer was lost") from error
        if kind == wire.ACK:
            return wire.parse_ack(payload)[2]
        if kind == wire.REFUSED:
            raise LogUnavailable(wire.parse_refused(payload)[2])
        raise wire.WireError("a frame of an unexpected type")

    def _frame(self) -> tuple[int, bytes]:
        while not self._frames:
            data = self._socket.recv(65_536)
            if not data:
                raise ConnectionResetError("closed")
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def close(self) -> None:
        self._socket.close()
        self.reader.close()


@contextmanager
def open_log(data_dir: Path, settings: Lineage, database: str = "") -> Iterator[Log]:
    """Open the log: through the data directory's writer where one runs, and as its writer where none does.

    `database` is the setting that says where the log lies. Raises LogUnavailable when neither is possible within
    `PATIENCE` seconds.
    """
    with ExitStack() as stack:
        yield _enter(stack, data_dir, settings, database)


def _enter(stack: ExitStack, data_dir: Path, settings: Lineage, database: str) -> Log:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            stack.enter_context(writer_lock(data_dir))
        except WriterPresent:
            with suppress(LogUnavailable):
                return _remote(stack, data_dir, database)
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # A writer is just starting or stopping.
        else:
            return _own(stack, data_dir, settings, database)


def _remote(stack: ExitStack, data_dir: Path, database: str) -> Log:
    remote = _RemoteLog(Paths(data_dir).socket, open_reader(data_dir, database))
    stack.callback(remote.close)
    return remote


def _own(stack: ExitStack, data_dir: Path, settings: Lineage, database: str) -> Log:
    ledger = Ledger(data_dir, settings, database)
    stack.callback(ledger.close)
    own = _OwnLog(ledger, open_reader(data_dir, database))
    stack.callback(own.close)
    return own
