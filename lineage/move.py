"""Takes a log from SQLite to PostgreSQL: the same records, tiles and checkpoints, under the same signing key.

What lies beside it goes along (`side_move`).

All of it is one transaction on the other side, verified before it is committed: a move that breaks off has not begun,
or lacks only the renaming of the file, which the same command makes up for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from lineage.control import ControlState
from lineage.errors import LogUnavailable, VerificationError, WriterPresent
from lineage.keys import load_verifier
from lineage.paths import Paths
from lineage.place import LogPlace
from lineage.reader import LogReader
from lineage.sqlite_store import SqliteSource
from lineage.store import Change, LogSource, LogStore, Pulse
from lineage.verify import verify

_CHUNK: Final = 500
MOVED: Final = ".moved"
"""Ends the name of a file that was a log: a writer does not take it up again, but people and `sqlite3` can open it."""

Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Moved:
    """What was brought over, and where the file is now."""

    records: int
    checkpoints: int
    tenants: int
    blobs: int
    tokens: int
    kept: str

    def as_dict(self) -> dict[str, object]:
        """The same as JSON-able values."""
        return asdict(self)


def size_of(path: Path) -> int:
    """Return how many records the SQLite log at `path` has; LogUnavailable when there is none."""
    with closing(SqliteSource(path)) as source:
        return source.size()


def move_log(data_dir: Path, database: str, copied: Progress, verified: Progress, beside: Progress) -> Moved:
    """Bring the SQLite log of `data_dir` over to the PostgreSQL `database`; the caller holds `writer_lock`.

    `copied` and `verified` are told how many more records are, `beside` how many more blobs. Raises LogUnavailable when
    one of the databases fails or the target has records or keys of its own already, WriterPresent when somebody writes
    to it, and VerificationError when the copy, that is the log itself, does not add up. In each of these cases the log
    was not moved.
    """
    from lineage.postgres_store import PostgresStore
    from lineage.side_move import copy_side

    path = Paths(data_dir).log
    key = load_verifier(data_dir)
    with closing(SqliteSource(path)) as source, closing(PostgresStore(database)) as target, target.together():
        latest = source.checkpoint()
        if not target.elect():
            raise WriterPresent(f"a Cordon works with the {LogPlace(data_dir, database).name}; stop it, then move")
        if not (target.size() or target.checkpoint() is not None or target.levels()):
            records = _copy_records(source, target, copied)
            checkpoints = _copy_tree(source, target)
        elif _begins_alike(source, target):
            # An earlier move was ended between its commit and the renaming of the file, which is all that is left.
            records, checkpoints = source.size(), sum(1 for _ in _checkpoints(source))
        else:
            raise LogUnavailable(f"the {LogPlace(data_dir, database).name} is not empty; name an empty database")
        if target.bind(str(key)) != str(key):
            raise LogUnavailable(
                f"the {LogPlace(data_dir, database).name} belongs to another key; name an empty database"
            )
        report = verify(LogReader(target), [key], None if latest is None else latest[1], progress=verified)
        if report.wrong:
            faults = "; ".join(fault for check in report.checks for fault in check.findings[:1])
            raise VerificationError(f"the log does not add up, nothing was moved; run `cordon log verify`: {faults}")
        # Before the log is there: a Cordon that found it without the tenants' keys would make others.
        side = copy_side(Paths(data_dir).side, database, beside)
    set_aside(Paths(data_dir).side)
    return Moved(records, checkpoints, side.tenants, side.blobs, side.tokens, str(set_aside(path)))


def _begins_alike(source: LogSource, target: LogSource) -> bool:
    """Whether the target has the source's records and checkpoints, and perhaps more that came since."""
    size = source.size()
    if not size or target.size() < size:
        return False
    chunks = ((first, min(_CHUNK, size - first)) for first in range(0, size, _CHUNK))
    notes = [note for note in _checkpoints(target) if note[0] <= size]
    return all(source.read(*chunk) == target.read(*chunk) for chunk in chunks) and all(
        note in notes for note in _checkpoints(source)
    )


def _copy_records(source: LogSource, target: LogStore, progress: Progress) -> int:
    size = source.size()
    state = source.control()
    latest = source.checkpoint()
    pruned = min(state.pruned, 0 if latest is None else latest[0])
    for first in range(0, size, _CHUNK):
        end = min(first + _CHUNK, size)
        found = dict(row for row in source.read(first, _CHUNK) if row[0] < end)
        rows = [found.get(index, b"" if index < pruned else None) for index in range(first, end)]
        if None in rows:
            raise VerificationError(f"records are missing after index {first}; run `cordon log verify`")
        last = end == size
        change = Change(state.changes(ControlState()), 0, state.epoch - first) if last and state.epoch else None
        if target.append(first, [data or b"" for data in rows], change) != Pulse(first, 0):
            raise LogUnavailable("somebody else writes to the database; stop it, and move to an empty one")
        progress(len(rows))
    done = 0
    while done < pruned:  # What was pruned before had only its place kept.
        done = target.prune(done, pruned, _CHUNK)
    return size


def _copy_tree(source: LogSource, target: LogStore) -> int:
    """Copy the checkpoints; the tiles, which belong to the latest, come with it."""
    notes = list(_checkpoints(source))
    for size, note in notes[:-1]:
        target.save_checkpoint(size, note, {})
    if notes:
        target.save_checkpoint(*notes[-1], dict(_tiles(source)))
    return len(notes)


def _checkpoints(source: LogSource) -> Iterator[tuple[int, bytes]]:
    after = -1
    while rows := source.checkpoints(after, _CHUNK):
        yield from rows
        after = rows[-1][0]


def _tiles(source: LogSource) -> Iterator[tuple[tuple[int, int], bytes]]:
    for level in range(source.levels()):
        for index in range(source.stored_tiles(level)[0]):
            tile = source.stored_tile(level, index)
            if tile is None:
                raise VerificationError(f"tile {level}/{index} is missing; run `cordon log verify`")
            yield (level, index), tile


def set_aside(path: Path) -> Path:
    """Rename the file and what SQLite keeps beside it: two logs under one key would be a log that was forked.

    The file goes first: left behind without its write-ahead log, it would be a log that lacks its last records.
    """
    kept = path.with_name(path.name + MOVED)
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.replace(kept.with_name(kept.name + suffix))
    return kept
