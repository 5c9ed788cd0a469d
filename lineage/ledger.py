"""The log as a writer holds it: the store, the tree, the control state and the signing key, kept in step.

Everything here is synchronous. `append` is the commit point: when it returns, the records are on the disk.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from lineage.control import ControlState
from lineage.errors import KeyFileError, LogUnavailable, VerificationError, WriterPresent
from lineage.keys import LogKeys, load_log_keys, log_key_path
from lineage.note import Checkpoint, open_checkpoint
from lineage.paths import Paths, make_private_file
from lineage.place import LogPlace
from lineage.reader import LogReader
from lineage.record import decode
from lineage.settings import Lineage
from lineage.store import Change, Pulse
from lineage.tiles import TileTree, widths

_READ: Final = 1_000
_BITE: Final = 500
"""Records that are pruned between two commits."""
_ATTEMPTS: Final = 20
"""How often an append with control records is tried beside others that change the control state too."""
_PAUSE_SECONDS: Final = 0.001
"""More after each try in vain than after the one before, so that a burst of another's changes is outlasted."""
_LOST: Final = "{} has lost records that were acknowledged; stop and restore it"
RETRY_SECONDS: Final = 0.05
"""After a failure the store is left alone for this long, and appends fail with the same reason."""

Controls = list[tuple[int, bytes]]
"""Control records with their indexes."""


@contextmanager
def writer_lock(data_dir: Path) -> Iterator[IO[bytes]]:
    """Hold the right to write the log; WriterPresent at once when another process holds it."""
    paths = Paths(data_dir)
    make_private_file(paths.lock)
    try:
        opened = paths.lock.open("ab")
    except OSError as error:
        raise LogUnavailable(f"{paths.lock}: {error.strerror}") from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WriterPresent(f"another log writer holds {paths.lock}") from None
        yield file


class Ledger:
    """The log, open for writing. The caller holds `writer_lock`.

    On PostgreSQL other machines' ledgers append too, and one of all of them is elected to keep the tree and sign it.
    """

    def __init__(self, data_dir: Path, settings: Lineage, database: str = "") -> None:
        """Take up the log of `data_dir`, or the one in `database` (the setting of that name)."""
        place = LogPlace(data_dir, database)
        self._name = place.name if place.remote else Paths(data_dir).log.name
        self.shared = place.remote
        if log_key_path(data_dir).exists() and not place.exists():
            raise LogUnavailable(_gone(place))
        self._store = place.store()
        self._tree: TileTree | None = None
        self._ungrown: list[bytes] = []
        self._size = 0
        self._last: tuple[int, bytes] | None = None
        self._control = ControlState()
        self._checkpointed = -1
        self._failure: str | None = None
        self._retry_at = 0.0
        self.readings = 0
        self._prunable = 0
        self._pruned = 0
        try:
            self._keys = self._load_keys(data_dir, settings.origin)
            self._resume()
        except BaseException:
            self._store.close()
            raise

    def _load_keys(self, data_dir: Path, origin: str) -> LogKeys:
        """The key that the log is signed with: made for a new log, and on each machine the same."""
        begun = self._store.checkpoint() is not None or self._store.bind("") != ""
        keys = load_log_keys(data_dir, origin, create=not begun)
        bound = self._store.bind(str(keys.verifier))
        if bound != str(keys.verifier):
            raise KeyFileError(
                f"{log_key_path(data_dir)} is not the key of the {self._name}; "
                "copy the directory of keys from the machine where the log began"
            )
        return keys

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._keys.origin

    @property
    def size(self) -> int:
        """Number of durable records, as far as they are known here."""
        return self._size

    @property
    def checkpointed(self) -> int:
        """Size of the latest checkpoint made or taken up here; -1 before the first."""
        return self._checkpointed

    def first_since(self, at: int) -> int:
        """Return the index of the first record of a time (ms since the epoch)."""
        with self._doubt():
            return LogReader(self._store).first_since(at)

    @property
    def elected(self) -> bool:
        """Whether the tree is kept, and the checkpoints are signed, here."""
        return self._tree is not None

    @property
    def control(self) -> ControlState:
        """The control state after the last record that is known here.

        `readings` counts how often it was read from the store since others had changed it.
        """
        return self._control

    def append(self, records: Sequence[bytes], maybe_control: Sequence[int] = ()) -> tuple[int, Controls]:
        """Commit records at the next indexes; return the first index and the control records among them.

        `maybe_control` are the positions in `records` that `control.may_control` named. What held at the first index
        is in `control` by then, whoever wrote it. LogUnavailable: the records are not in the log, or, where its text
        says that the connection was lost, may be there; a later call may work again.
        """
        self._mend()
        if not records:
            return self._size, []
        for tried in range(1, _ATTEMPTS + 1):
            state, positions = self._fold(records, maybe_control)
            change = None
            if positions:
                change = Change(state.changes(self._control), self._control.epoch, state.epoch - self._size)
            with self._doubt():
                self._store.check()
                placed = self._store.append(self._size, records, change)
                if placed is not None:
                    return placed.size, self._placed(placed, records, state, positions)
                self._catch_up()
            time.sleep(_PAUSE_SECONDS * tried)  # only here: an append that nobody disturbs must not yield
        raise LogUnavailable("others change keys and containments at the same time, over and over; try again")

    def _fold(self, records: Sequence[bytes], maybe_control: Sequence[int]) -> tuple[ControlState, list[int]]:
        state = self._control
        positions = []
        for position in maybe_control:
            folded = state.fold(decode(records[position]), self._size + position)
            if folded is not state:
                positions.append(position)
                state = folded
        return state, positions

    def _placed(
        self, placed: Pulse, records: Sequence[bytes], state: ControlState, positions: Sequence[int]
    ) -> Controls:
        """Take note of a commit: the control state that was in force at its index, then its own changes."""
        first = placed.size
        if positions:
            self._control = replace(state, epoch=state.epoch - self._size + first)
        elif placed.epoch != self._control.epoch:
            self._read_control()
        if self._tree is not None and first == self._tree.size + len(self._ungrown):
            self._ungrown += records
        self._size = first + len(records)
        self._last = (self._size - 1, records[-1])
        return [(first + position, records[position]) for position in positions]

    def look(self) -> None:
        """See what others have done to the log: its size, its control state, and whether it needs one who signs."""
        self._mend()
        with self._doubt():
            self._catch_up()
            if self._tree is None and self._store.elect():
                self._take_up_tree()

    def _catch_up(self) -> None:
        pulse = self._store.pulse()
        if pulse.size < self._size:
            raise VerificationError(_LOST.format(self._name))
        if pulse.epoch != self._control.epoch:
            self._read_control()
        self._size = pulse.size

    def _read_control(self) -> None:
        self._control = self._store.control()
        self.readings += 1

    def grow(self) -> None:
        """Hash what was appended into the tree; done after the acknowledgements, as nobody waits for it."""
        if self._tree is None:
            return
        self._tree.append_records(self._ungrown)
        self._ungrown.clear()
        if self._size - self._tree.size >= _READ:
            with self._doubt():
                self._read_into(self._tree, self._tree.size + _READ)

    def checkpoint(self) -> bytes | None:
        """Sign and keep a checkpoint; None when nothing is new since the last one, or when another is to sign it.

        LogUnavailable: try again later.
        """
        self._mend()
        if self._tree is None:
            return None
        with self._doubt():
            self._store.check()
            if self.shared:
                self._catch_up()
            self.grow()
            self._read_into(self._tree, self._size)
        tree = self._tree
        if tree.size == self._checkpointed:
            return None
        note = self._keys.signer.sign(Checkpoint(self.origin, tree.size, tree.root()).text())
        with self._doubt():
            self._store.save_checkpoint(tree.size, note, {**tree.take_finished(), **tree.open_tiles()})
        self._checkpointed = tree.size
        return note

    def prune(self) -> bool:
        """Delete a few of the records that are given up and a checkpoint covers; say whether more are left.

        Only where the tree is kept, and only once the record that gives them up is under a checkpoint itself: nothing
        is ever missing that a signed record does not explain.
        """
        if self._tree is None or self._failure is not None:
            return False
        if self._control.epoch <= self._checkpointed:
            self._prunable = self._control.pruned
        if self._pruned < self._prunable:
            with self._doubt():
                self._store.check()
                self._pruned = self._store.prune(self._pruned, self._prunable, _BITE)
        return self._pruned < self._prunable

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
            self._failure = str(error)  # the error itself knows the records that were to be written
            self._retry_at = time.monotonic() + RETRY_SECONDS
            raise

    def _mend(self) -> None:
        """After a failure, read again what is really there; not at once for every batch that comes."""
        if self._failure is None:
            return
        if time.monotonic() < self._retry_at:
            raise LogUnavailable(self._failure)
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
        """Take up the log as it is now; VerificationError if that is not what is known of it."""
        self._tree = None
        state = self._store.control()
        pulse = self._store.pulse()
        if pulse.size < self._size or not self._remembered(state):
            raise VerificationError(_LOST.format(self._name))
        if state.epoch > pulse.size:
            raise VerificationError(f"{self._name}: the control state is ahead of the records; run `cordon log verify`")
        if self._store.elect():
            self._take_up_tree()
        self._size = pulse.size
        self._control = state
        self.readings += 1
        self._failure = None

    def _remembered(self, state: ControlState) -> bool:
        """Whether the last record that was appended here is still there, if it was not given up since."""
        last = self._last
        return last is None or last[0] < state.pruned or self._store.read(last[0], 1) == [last]

    def _take_up_tree(self) -> None:
        """Take up the tree from the last checkpoint and the records after it; VerificationError if they do not fit."""
        latest = self._store.checkpoint()
        tree = TileTree() if latest is None else self._tree_at(*latest)
        self._read_into(tree, self._store.pulse().size)
        self._tree = tree
        self._ungrown = []
        self._prunable = self._pruned = 0
        self._checkpointed = -1 if latest is None else latest[0]

    def _read_into(self, tree: TileTree, size: int) -> None:
        """Hash the records up to `size` into the tree, those of other machines too."""
        while tree.size < size:
            rows = self._store.read(tree.size, min(_READ, size - tree.size))
            if not rows or [index for index, _ in rows] != list(range(tree.size, tree.size + len(rows))):
                raise VerificationError(
                    f"{self._name}: records are missing after index {tree.size}; run `cordon log verify`"
                )
            tree.append_records([data for _, data in rows])

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
