"""A ledger in a process of its own, told each step: so that its system calls fail, not the test's own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lineage.control import may_control
from lineage.errors import LineageError
from lineage.ledger import RETRY_SECONDS, Ledger, writer_lock
from lineage.settings import Lineage

STEP_SECONDS = 20.0


class LedgerFailed(Exception):
    """A step failed as it may: with an error of the log's own."""


class LedgerBroke(Exception):
    """A step failed with an error that no caller of the ledger expects."""


class _Steps:
    """What the process can be told, by name."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._ledger: Ledger | None = None

    @property
    def _open(self) -> Ledger:
        assert self._ledger is not None
        return self._ledger

    def move(self, data_dir: Path) -> None:
        """Go on with the log of another directory."""
        self._data_dir = data_dir

    def open(self) -> int:
        with writer_lock(self._data_dir):
            self._ledger = Ledger(self._data_dir, Lineage())
        return self._ledger.size

    def append(self, records: list[bytes]) -> int:
        first, _ = self._open.append(records, [at for at, data in enumerate(records) if may_control(data)])
        self._open.grow()
        return first

    def checkpoint(self) -> int:
        self._open.checkpoint()
        return self._open.checkpointed

    def tidy(self) -> None:
        """Copy back both ways: beside the commits, and between two of them when the write-ahead log is long."""
        store: Any = self._open._store
        self._open.tidy()
        store._copier.join()
        store._wal_pages = 1_000_000
        self._open.tidy()

    def close(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()

    def rest(self) -> None:
        """Let the time pass in which a store that failed is left alone."""
        time.sleep(RETRY_SECONDS)


def _serve(pipe: Connection, data_dir: Path) -> None:
    steps = _Steps(data_dir)
    with suppress(EOFError):
        while True:
            name, values = pipe.recv()
            step: Callable[..., object] = getattr(steps, name)
            try:
                pipe.send(("done", step(*values)))
            except LineageError as error:
                pipe.send(("failed", f"{type(error).__name__}: {error}"))
            except BaseException as error:
                pipe.send(("broke", f"{type(error).__name__}: {error}"))


class RemoteLedger:
    """Steps of `_Steps` in the other process; LedgerFailed or LedgerBroke when one fails."""

    def __init__(self, data_dir: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, data_dir), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, step: str, *values: object) -> Any:
        self._pipe.send((step, values))
        assert self._pipe.poll(STEP_SECONDS), f"{step} hangs"
        how, value = self._pipe.recv()
        if how == "done":
            return value
        raise (LedgerFailed if how == "failed" else LedgerBroke)(f"{step}: {value}")

    def close(self) -> None:
        self._pipe.close()
        self._process.join(STEP_SECONDS)


@contextmanager
def remote_ledger(data_dir: Path) -> Iterator[RemoteLedger]:
    """Such a process for the length of the block."""
    ledger = RemoteLedger(data_dir)
    try:
        yield ledger
    finally:
        ledger.close()
