"""The checks of a verification, one small class each: fed the records in order, holding what they need and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final

from lineage.control import ControlState, may_control
from lineage.errors import LogUnavailable, RecordError, VerificationError
from lineage.merkle import leaf_hash
from lineage.note import Checkpoint, Verifier, open_checkpoint
from lineage.record import decode, encode
from lineage.report import Check
from lineage.side import SideStore, blob_digest
from lineage.store import LogSource
from lineage.tiles import WIDTH, TileTree, tile_hashes, widths

_CHUNK: Final = 1_000
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class RecordsCheck:
    """Each index is there once, each record is canonical and of a known kind."""

    def __init__(self) -> None:
        self.check = Check("records", "records")

    def feed(self, index: int, data: bytes) -> dict[str, object] | None:
        """Check a record; return it decoded, or None when it cannot be."""
        self.check.checked += 1
        try:
            record = decode(data)
            if encode(record) != data:
                self.check.fault(f"record {index} is not in canonical form")
        except RecordError as error:
            self.check.fault(f"record {index}: {error}")
            return None
        return record


class TreeCheck:
    """Each stored checkpoint is signed and has the root of the records; each tile has their hashes; none is missing."""

    def __init__(self, source: LogSource, keys: Sequence[Verifier], covered: int) -> None:
        self._source = source
        self._keys = keys
        self._covered = covered
        self._row: tuple[int, list[bytes]] = (-1, [])
        self._checkpoints = Check("checkpoints", "checkpoints")
        self._tiles = Check("tiles", "tiles")
        self._pending = _checkpoints(source, covered)
        self._next = next(self._pending, None)
        self.tree = TileTree()
        self.checks = [self._checkpoints, self._tiles]
        self._pass()

    def feed(self, data: bytes) -> None:
        """Grow the tree by a record, and compare it with what is stored for this size."""
        self.tree.append(leaf_hash(data))
        self._pass()

    def feed_pruned(self, index: int) -> bool:
        """Grow the tree by the stored hash of a record that is gone; say whether there is one.

        That it is the record's own hash shows where the next checkpoint's root is compared.
        """
        number, place = divmod(index, WIDTH)
        if self._row[0] != number:
            with suppress(VerificationError):
                self._row = number, tile_hashes(self._source.stored_tile(0, number) or b"")
        if self._row[0] != number or place >= len(self._row[1]) or index >= self._covered:
            return False
        self.tree.append(self._row[1][place])
        self._pass()
        return True

    def _pass(self) -> None:
        """Compare what is stored for the size that the tree has now."""
        while self._next is not None and self._next[0] <= self.tree.size:
            self._checkpoint(*self._next)
            self._next = next(self._pending, None)
        if self.tree.size % WIDTH == 0:
            for place, hashes in self.tree.take_finished().items():
                if self.tree.size <= self._covered:
                    self._tile(place, hashes)
        if self.tree.size == self._covered:
            for place, hashes in self.tree.open_tiles().items():
                self._tile(place, hashes)

    def _checkpoint(self, size: int, note: bytes) -> None:
        self._checkpoints.checked += 1
        try:
            checkpoint = open_checkpoint(note, self._keys)
        except VerificationError as error:
            self._checkpoints.fault(f"checkpoint of {size} records: {error}")
            return
        if checkpoint.size != size or size != self.tree.size:
            self._checkpoints.fault(f"the checkpoint stored for {size} records speaks of {checkpoint.size}")
        elif checkpoint.root != self.tree.root():
            self._checkpoints.fault(f"checkpoint of {size} records: the records have another root")

    def _tile(self, place: tuple[int, int], hashes: bytes) -> None:
        self._tiles.checked += 1
        level, index = place
        stored = self._source.stored_tile(level, index)
        if stored is None:
            self._tiles.fault(f"tile {level}/{index} is missing")
        elif not stored.startswith(hashes):
            self._tiles.fault(f"tile {level}/{index} does not have the hashes of the records")
        elif len(stored) > len(hashes) and not self._grown():
            self._tiles.fault(f"tile {level}/{index} has more hashes than there are records")

    def _grown(self) -> bool:
        """Whether the log was given a newer checkpoint, and longer tiles with it, while it was verified."""
        latest = self._source.checkpoint()
        return latest is not None and latest[0] > self._covered

    def finish(self, size: int) -> None:
        """After the last of `size` records: no checkpoint is left over, and no tile is missing or too many."""
        while self._next is not None:
            self._checkpoints.checked += 1
            self._checkpoints.fault(f"checkpoint of {self._next[0]} records: there are only {size}")
            self._next = next(self._pending, None)
        if self._grown():
            return
        expected = widths(self._covered)
        for level in range(max(len(expected), self._source.levels())):
            full, width = expected[level] if level < len(expected) else (0, 0)
            should = full + (1 if width else 0)
            if self._source.stored_tiles(level) != (should, should):
                self._tiles.fault(f"level {level} should have the tiles 0 to {should - 1} and no others")


def _checkpoints(source: LogSource, covered: int) -> Iterator[tuple[int, bytes]]:
    after = -1
    while rows := source.checkpoints(after, _CHUNK):
        for size, note in rows:
            if size > covered:
                return
            yield size, note
        after = rows[-1][0]


class CallsCheck:
    """Each outcome names an earlier intent of the same call and attempt, and none is named twice."""

    def __init__(self) -> None:
        self.pruned = 0
        """Intents below that index may be gone."""
        self.check = Check("calls", "outcomes")
        self.open: dict[int, tuple[object, object]] = {}
        self.lost = 0

    def feed(self, index: int, record: dict[str, object]) -> None:
        """Take an intent or an outcome into account."""
        kind = record.get("kind")
        if kind == "call.intent":
            self.open[index] = record.get("call"), record.get("attempt")
        elif kind == "call.outcome":
            self.check.checked += 1
            intent = record.get("intent")
            opened = self.open.pop(intent, None) if type(intent) is int else None
            if opened is None and type(intent) is int and 0 <= intent < self.pruned and intent < index:
                return
            if opened is None:
                self.check.fault(f"outcome {index} has no intent of its own before it")
            elif opened != (record.get("call"), record.get("attempt")):
                self.check.fault(f"outcome {index} names intent {intent}, which is of another call or attempt")
        elif kind == "process.lost":
            intents = record.get("intents")
            for intent in intents if isinstance(intents, list) else ():
                self.lost += self.open.pop(intent, None) is not None


class ControlCheck:
    """The stored control state is what the control records fold to."""

    def __init__(self) -> None:
        self.check = Check("control state", "control records")
        self._state = ControlState()
        self._prunings: list[tuple[int, int]] = []

    def feed(self, index: int, data: bytes, record: dict[str, object]) -> None:
        """Fold a record."""
        if not may_control(data):
            return
        try:
            state = self._state.fold(record, index)
        except RecordError as error:
            self.check.fault(f"record {index}: {error}")
            return
        self.check.checked += state is not self._state
        if state.pruned != self._state.pruned:
            self._prunings.append((index, state.pruned))
        self._state = state

    def given_up(self, signed: int) -> int:
        """Return the index below which records may be gone, as `log.pruned` among the first `signed` records say."""
        return max((pruned for index, pruned in self._prunings if index < signed), default=0)

    def finish(self, source: LogSource, size: int) -> None:
        """After the last of `size` records: compare with what is stored."""
        try:
            stored = source.control()
        except LogUnavailable as error:
            self.check.fault(str(error))
            return
        # Of a log in use, records that came meanwhile are in the stored state too.
        with suppress(RecordError):
            for index, data in source.read(size, max(0, min(stored.epoch - size, 100_000))):
                self.feed(index, data, decode(data))
        if stored != self._state:
            self.check.fault("the stored control state is not what the records say")


class SinceCheck:
    """The log still begins with what a checkpoint held outside covered."""

    def __init__(self, note: bytes, keys: Sequence[Verifier]) -> None:
        self.check = Check("given checkpoint", "checkpoints")
        self._checkpoint: Checkpoint | None = None
        self._root: bytes | None = None
        try:
            self._checkpoint = open_checkpoint(note, keys)
        except VerificationError as error:
            self.check.fault(f"the given checkpoint: {error}")
        self.feed(TileTree())

    def feed(self, tree: TileTree) -> None:
        """Note the root when the tree has the given checkpoint's size."""
        if self._checkpoint is not None and tree.size == self._checkpoint.size:
            self._root = tree.root()

    def finish(self) -> None:
        """After the last record: compare the roots."""
        self.check.checked += 1
        if self._checkpoint is None:
            return
        if self._root is None:
            self.check.fault(f"the log is shorter than the {self._checkpoint.size} records of the given checkpoint")
        elif self._root != self._checkpoint.root:
            self.check.fault(f"the first {self._checkpoint.size} records are not those of the given checkpoint")


class SideCheck:
    """Each blob that is still there has the digest that its record names."""

    def __init__(self, store: SideStore) -> None:
        self.check = Check("blobs beside the log", "blobs")
        self.gone = 0
        self._store = store
        # Many records name the same blob, mostly one after the other.
        self._is_right = lru_cache(1_024)(self._look)

    def _look(self, digest: str) -> bool | None:
        blob = self._store.load(digest)
        return None if blob is None else blob_digest(blob) == digest

    def feed(self, index: int, record: dict[str, object]) -> None:
        """Check a record's blob, or count that it is gone."""
        digest = record.get("side")
        if digest is None:
            return
        is_right = self._is_right(digest) if isinstance(digest, str) and _DIGEST.fullmatch(digest) else False
        if is_right is None:
            self.gone += 1
            return
        self.check.checked += 1
        if not is_right:
            self.check.fault(f"the blob of record {index} is not the one that the record names")
