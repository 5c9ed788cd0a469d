"""Read access to the log for any process: records, checkpoints, tiles, proofs, and the records of one call."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

from lineage.control import ControlState
from lineage.errors import RecordError
from lineage.merkle import HASH_SIZE, consistency_path, inclusion_path, subtree_root
from lineage.place import LogPlace
from lineage.record import call_time, decode
from lineage.store import SEARCH_LIMIT, LogSource
from lineage.tiles import WIDTH, TilePath, pack_entries, tile_hashes

CALL_SLACK_MS: Final = 5_000
"""How far the clocks of processes may lie apart before `find` has to look through the whole log."""
SEARCH_STEP: Final = 10_000
"""Records that one read looks through."""
CALL_SPAN_MS: Final = 1_000_000
"""How long after its start a call may still write records: the longest call and some more."""


class LogReader:
    """Reads a log. Every method is short and sees only what is durable; LogUnavailable when that fails."""

    def __init__(self, source: LogSource) -> None:
        self._source = source

    def close(self) -> None:
        """Let go of the store."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def source(self) -> LogSource:
        """The store itself, for verification."""
        return self._source

    def size(self) -> int:
        """Return how many records there are."""
        return self._source.size()

    def read(self, start: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` records from index `start` on, with their indexes."""
        return self._source.read(start, limit)

    def control(self) -> ControlState:
        """Return the control state."""
        return self._source.control()

    def checkpoint(self) -> bytes | None:
        """Return the latest checkpoint, a signed note; None before the first."""
        latest = self._source.checkpoint()
        return None if latest is None else latest[1]

    def checkpoint_size(self) -> int:
        """Return how many records the latest checkpoint covers; 0 before the first."""
        latest = self._source.checkpoint()
        return 0 if latest is None else latest[0]

    def tile(self, level: int, index: int, width: int = WIDTH) -> bytes | None:
        """Return the first `width` hashes of a tile, or None when the latest checkpoint does not reach so far."""
        stored = self._source.stored_tile(level, index)
        if stored is None or len(stored) < width * HASH_SIZE:
            return None
        return stored[: width * HASH_SIZE]

    def leaf(self, index: int) -> bytes | None:
        """Return the hash of a record as a leaf, also of a pruned one; None when no checkpoint reaches so far."""
        tile = self._source.stored_tile(0, index // WIDTH) or b""
        return next(iter(tile_hashes(tile)[index % WIDTH : index % WIDTH + 1]), None)

    def entries(self, index: int, width: int = WIDTH) -> bytes | None:
        """Return the first `width` records of an entry bundle, or None when no checkpoint reaches so far."""
        if index * WIDTH + width > self.checkpoint_size():
            return None
        records = self._source.read(index * WIDTH, width)
        if [i for i, _ in records] != list(range(index * WIDTH, index * WIDTH + width)):
            return None
        return pack_entries([data for _, data in records])

    def at(self, place: TilePath) -> bytes | None:
        """Return the tile or entry bundle at a place, or None when no checkpoint reaches so far."""
        if place.level < 0:
            return self.entries(place.index, place.width)
        return self.tile(place.level, place.index, place.width)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the hashes from the leaf at `index` to the root over `size` leaves (default: the latest checkpoint's).

        RecordError when no checkpoint covers the index or the size yet.
        """
        covered = self.checkpoint_size()
        size = covered if size is None else size
        if not 0 <= index < size <= covered:
            raise RecordError(
                f"the latest checkpoint covers {covered} records; the proof asked for needs more, or none"
            )
        return inclusion_path(index, size, self._nodes())

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the proof that the tree of `old` leaves is a prefix of that of `new` (default: the latest).

        RecordError when no checkpoint covers that.
        """
        covered = self.checkpoint_size()
        new = covered if new is None else new
        if not 0 < old <= new <= covered:
            raise RecordError(
                f"the latest checkpoint covers {covered} records; the proof asked for needs more, or none"
            )
        return consistency_path(old, new, self._nodes())

    def _nodes(self) -> _Nodes:
        return _Nodes(self._source)

    def find(self, call: str, *, everywhere: bool = True) -> list[tuple[int, dict[str, object]]]:
        """Return the records of a call, in order, with their indexes; RecordError when `call` is not a call id.

        The log needs no index for this: a call id tells its time, and the log is nearly in order of time. When
        nothing is found where it should be, the whole log is looked through, a second for some million records;
        whoever asks for others says `everywhere=False` to leave that out.
        """
        made = call_time(call)
        size = self._source.size()
        times = _Times(self._source, size)
        start = bisect_left(times, made - CALL_SLACK_MS)
        end = bisect_left(times, made + CALL_SPAN_MS)
        found = self._search(call, start, end)
        return found or (self._search(call, 0, size) if everywhere else [])

    def first_since(self, at: int) -> int:
        """Return the index of the first record of a time (ms since the epoch), or of the log's end.

        The log is nearly in order of time: records of several processes may be some milliseconds out of it.
        """
        return bisect_left(_Times(self._source, self._source.size()), at)

    def _search(self, call: str, start: int, end: int) -> list[tuple[int, dict[str, object]]]:
        """Look through [start, end) in short reads, up to the record that ends the call."""
        needle = f'"call":"{call}"'.encode()
        found: list[tuple[int, dict[str, object]]] = []
        for index, data in self.search(needle, start, end):
            record = decode(data)
            if record.get("call") == call:
                found.append((index, record))
                if record.get("kind") == "call.refused" or record.get("final") is True:
                    return found
        return found

    def search(self, needle: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield all records in [start, end) whose bytes contain `needle`, in order, in short reads."""
        while start < end:
            stop = min(end, start + SEARCH_STEP)
            rows = self._source.search(needle, start, stop)
            yield from rows
            start = rows[-1][0] + 1 if len(rows) == SEARCH_LIMIT else stop

    def records(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield the records in [start, end), `end` being the present size by default, in short reads."""
        end = self._source.size() if end is None else end
        while start < end and (rows := self._source.read(start, min(1_000, end - start))):
            yield from rows
            start = rows[-1][0] + 1


class _Times:
    """The records' times as a sequence to bisect."""

    def __init__(self, source: LogSource, size: int) -> None:
        self._source = source
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> int:
        rows = self._source.read(index, 1)
        at = decode(rows[0][1]).get("at") if rows else None
        return at if type(at) is int else 0


class _Nodes:
    """Roots of complete subtrees out of the tiles, remembering the tiles of one proof."""

    def __init__(self, source: LogSource) -> None:
        self._tile = lru_cache(maxsize=64)(source.stored_tile)

    def __call__(self, level: int, index: int) -> bytes:
        tile_level, height = divmod(level, 8)
        first = index << height
        tile = self._tile(tile_level, first // WIDTH) or b""
        hashes = tile_hashes(tile)[first % WIDTH : first % WIDTH + (1 << height)]
        if len(hashes) != 1 << height:
            raise RecordError(f"tile {tile_level}/{first // WIDTH} is missing or cut; run `cordon log verify`")
        return subtree_root(hashes)


def open_reader(data_dir: Path, database: str = "") -> LogReader:
    """Open the log of a data directory, or the one in `database`, for reading; LogUnavailable when there is none."""
    return LogReader(LogPlace(data_dir, database).source())
