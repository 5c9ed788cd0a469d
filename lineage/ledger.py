"""The log as its one writer holds it: the store, the tree, the control state and the signing key, kept in step.

Everything here is synchronous. `append` is the commit point: when it returns, the records are on the disk.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from lineage.control import ControlState
from lineage.errors import LogUnavailable, VerificationError, WriterPresent
from lineage.keys import load_log_keys, log_key_path
from lineage.note import Checkpoint, open_checkpoint
from lineage.paths import Paths, make_private_file
from lineage.place import LogPlace
from lineage.record import decode
from lineage.settings import Lineage
from lineage.tiles import TileTree, widths

_READ: Final = 1_000
RETRY_SECONDS: Final = 0.05
"""After a failure the store is left alone for this long, and appends fail with the same reason."""

Controls = list[tuple[int, bytes]]
"""Control records with their indexes."""


@contextmanager
def writer_lock(data_dir: Path) -> Iterator[IO[bytes]]:
    """Hold the right to write the log; WriterPresent at once when another process holds it."""
    paths = Paths(data_dir)
    make_private_file(paths.lock)
    with paths.lock.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WriterPresent(f"another log writer holds {paths.lock}") from None
        yield file


class Ledger:
    """The log, open for writing. The caller holds `writer_lock`."""

    def __init__(self, data_dir: Path, settings: Lineage, database: str = "") -> None:
        """Take up the log of `data_dir`, or the one in `database` (the setting of that name).

        WriterPresent when the log is on PostgreSQL and another writer has been elected there.
        """
        place = LogPlace(data_dir, database)
        self._name = place.name if place.remote else Paths(data_dir).log.name
        if log_key_path(data_dir).exists() and not place.exists():
            raise LogUnavailable(_gone(place))
        self._store = place.store()
        self._tree = TileTree()
        self._ungrown: list[bytes] = []
        self._control = ControlState()
        self._checkpointed = -1
        self._failure: BaseException | None = None
        self._retry_at = 0.0
        try:
            latest = self._store.checkpoint()
            self._keys = load_log_keys(data_dir, settings.origin, create=latest is None)
            self._resume()
        except BaseException:
            self._store.close()
            raise

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._keys.origin

    @property
    def size(self) -> int:
        """Number of durable records."""
        return self._tree.size + len(self._ungrown)

    @property
    def checkpointed(self) -> int:
        """Size of the latest checkpoint; -1 before the first."""
        return self._checkpointed

    @property
    def control(self) -> ControlState:
        """The control state after the last record."""
        return self._control

    def append(self, records: Sequence[bytes], maybe_control: Sequence[int] = ()) -> tuple[int, Controls]:
        """Commit records at the next indexes; return the first index and the control records among them.

        `maybe_control` are the positions in `records` that `control.may_control` named. LogUnavailable: none of
        the records is in the log, and a later call may work again.
        """
        self._mend()
        first = self.size
        state = self._control
        controls: Controls = []
        for position in maybe_control:
            folded = state.fold(decode(records[position]), first + position)
            if folded is not state:
                controls.append((first + position, records[position]))
                state = folded
        rows = state.changes(self._control) if controls else ()
        with self._doubt():
            self._store.check()
            self._store.append(first, records, rows, state.epoch)
        self._control = state
        self._ungrown += records
        return first, controls

    def grow(self) -> None:
        """Hash what was appended into the tree; done after the acknowledgements, as nobody waits for it."""
        self._tree.append_records(self._ungrown)
        self._ungrown.clear()

    def checkpoint(self) -> bytes | None:
        """Sign and keep a checkpoint; None when nothing is new since the last one. LogUnavailable: try again later."""
        self._mend()
        with self._doubt():
            self._store.check()
        self.grow()
        tree = self._tree
        if tree.size == self._checkpointed:
            return None
        note = self._keys.signer.sign(Checkpoint(self.origin, tree.size, tree.root()).text())
        with self._doubt():
            self._store.save_checkpoint(tree.size, note, {**tree.take_finished(), **tree.open_tiles()})
        self._checkpointed = tree.size
        return note

    @property
    def untidy(self) -> bool:
        """Whether the store's housekeeping is due."""
        return self._store.untidy

    def tidy(self) -> None:
        """Do the store's housekeeping that is due."""
        self._store.tidy()

    def close(self) -> None:
        """Let go of the store, without a last checkpoint."""
        self._store.close()

    @contextmanager
    def _doubt(self) -> Iterator[None]:
        """After any failure of the store nothing in memory is trusted any more."""
        try:
            yield
        except BaseException as error:
            self._failure = error
            self._retry_at = time.monotonic() + RETRY_SECONDS
            raise

    def _mend(self) -> None:
        """After a failure, read again what is really there; not at once for every batch that comes."""
        if self._failure is None:
            return
        if time.monotonic() < self._retry_at:
            raise LogUnavailable(str(self._failure))
        with self._doubt():
            self._store.check()
            try:
                self._resume()
            except LogUnavailable:
                self._reopen()

    def _reopen(self) -> None:
        self._store = self._store.reopen()
        self._resume()

    def _resume(self) -> None:
        """Take up the log from its last checkpoint and the records after it; VerificationError if they do not fit."""
        store = self._store
        latest = store.checkpoint()
        tree = TileTree() if latest is None else self._tree_at(*latest)
        while rows := store.read(tree.size, _READ):
            if [index for index, _ in rows] != list(range(tree.size, tree.size + len(rows))):
                raise VerificationError(
                    f"{self._name}: records are missing after index {tree.size}; run `cordon log verify`"
                )
            tree.append_records([data for _, data in rows])
        if tree.size < self.size:
            raise VerificationError(f"{self._name} has lost records that were acknowledged; stop and restore it")
        state = store.control()
        if state.epoch > tree.size:
            raise VerificationError(f"{self._name}: the control state is ahead of the records; run `cordon log verify`")
        self._tree = tree
        self._ungrown = []
        self._checkpointed = -1 if latest is None else latest[0]
        self._control = state
        self._failure = None

    def _tree_at(self, size: int, note: bytes) -> TileTree:
        checkpoint = open_checkpoint(note, [self._keys.verifier])
        tiles = []
        for level, (full, width) in enumerate(widths(size)):
            tile = self._store.stored_tile(level, full) if width else b""
            tiles.append(tile or b"")
        tree = TileTree.restore(size, tiles)
        if checkpoint != Checkpoint(self.origin, size, tree.root()):
            raise VerificationError(f"{self._name}: the tiles do not fit the last checkpoint; run `cordon log verify`")
        return tree


def _gone(place: LogPlace) -> str:
    key = log_key_path(place.data_dir)
    file = Paths(place.data_dir).log
    if place.remote and file.exists():
        return f"there is no {place.name} yet, but one in {file}; bring it over: `cordon log move`"
    return (
        f"the {place.name} is gone, but {key} has signed it; restore the log from a copy, "
        "or move the directory of keys away to begin a new log under a new name"
    ).removeprefix("" if place.remote else "the ")
