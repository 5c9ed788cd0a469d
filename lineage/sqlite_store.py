"""The log in a SQLite file: write-ahead log, an fsync at each commit, one writer, readers in any process.

Copying the write-ahead log back into the file is done by a thread of its own, so that commits do not wait for it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from lineage.control import ControlState, Row, from_rows, is_control
from lineage.errors import LogUnavailable
from lineage.paths import make_private_file
from lineage.sqlite_file import DAMAGED, FAILURES, LONGEST_JOURNAL, check_format, connect, create, unavailable
from lineage.store import SEARCH_LIMIT, Change, Pulse

log = logging.getLogger("cordon.lineage.store")

_COPY_BACK_BYTES: Final = 4_194_304
_LONG_WAL_PAGES: Final = 8_192

_APPEND: Final = "INSERT INTO records (idx, data) VALUES (?, ?)"


class SqliteSource:
    """Reads the log; open one per process. May be used from several threads, which take turns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.RLock()
        if not path.exists():
            raise LogUnavailable(f"there is no log at {path} yet; `cordon up` makes it")
        self._db = connect(path)
        with self._opening(), self._reading():
            check_format(self._db, path)
            self._db.execute("PRAGMA query_only=ON")

    def size(self) -> int:
        """Return how many records there are."""
        row = self._one("SELECT max(idx) FROM records")
        return 0 if row is None or row[0] is None else int(row[0]) + 1

    def read(self, start: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` records from index `start` on."""
        return self._blobs("SELECT idx, data FROM records WHERE idx >= ? ORDER BY idx LIMIT ?", (start, limit))

    def checkpoint(self) -> tuple[int, bytes] | None:
        """Return the latest checkpoint as (size, signed note)."""
        rows = self._blobs("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1")
        return rows[0] if rows else None

    def checkpoints(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` checkpoints of a size greater than `after`."""
        return self._blobs("SELECT size, note FROM checkpoints WHERE size > ? ORDER BY size LIMIT ?", (after, limit))

    def stored_tile(self, level: int, index: int) -> bytes | None:
        """Return the tile as of the latest checkpoint."""
        rows = self._blobs("SELECT idx, hashes FROM tiles WHERE level = ? AND idx = ?", (level, index))
        return rows[0][1] if rows else None

    def stored_tiles(self, level: int) -> tuple[int, int]:
        """Return how many tiles of a level are stored, and how many of them lie below that number."""
        total = self._one("SELECT count(*) FROM tiles WHERE level = ?", (level,))
        count = total[0] if total else 0
        below = self._one("SELECT count(*) FROM tiles WHERE level = ? AND idx >= 0 AND idx < ?", (level, count))
        return count, below[0] if below else 0

    def levels(self) -> int:
        """Return one more than the highest level of which a tile is stored."""
        row = self._one("SELECT max(level) FROM tiles")
        return 0 if row is None or row[0] is None else int(row[0]) + 1

    def control(self) -> ControlState:
        """Return the stored projection of the control records."""
        with self._reading():
            self._db.execute("BEGIN")
            try:
                rows = self._db.execute("SELECT kind, id, value FROM control").fetchall()
                epoch = self._db.execute("SELECT epoch FROM epoch").fetchone()[0]
            finally:
                self._db.execute("COMMIT")
        try:
            return from_rows(epoch, rows)
        except (LookupError, TypeError, ValueError) as error:
            raise LogUnavailable(f"{self._path.name}: the stored control state {DAMAGED}") from error

    def search(self, needle: bytes, start: int, end: int) -> list[tuple[int, bytes]]:
        """Return the records in [start, end) that contain `needle`."""
        return self._blobs(
            "SELECT idx, data FROM records WHERE idx >= ? AND idx < ? AND instr(data, ?) ORDER BY idx LIMIT ?",
            (start, end, needle, SEARCH_LIMIT),
        )

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._db.close()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Leave no connection behind where opening fails."""
        try:
            yield
        except BaseException:
            self._db.close()
            raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._turn:
            try:
                yield
            except FAILURES as error:
                raise unavailable(self._path, error) from error

    def _one(self, sql: str, values: Sequence[object] = ()) -> Any:
        with self._reading():
            return self._db.execute(sql, values).fetchone()

    def _blobs(self, sql: str, values: Sequence[object] = ()) -> list[tuple[int, bytes]]:
        """Read pairs of a number and bytes; in a damaged file they may have become anything."""
        with self._reading():
            rows = self._db.execute(sql, values).fetchall()
        if not all(type(number) is int and type(data) is bytes for number, data in rows):
            raise LogUnavailable(f"{self._path.name}: the database {DAMAGED}")
        return rows


class SqliteStore(SqliteSource):
    """Writes the log; whoever opens it holds the writer's lock."""

    def __init__(self, path: Path) -> None:
        make_private_file(path)
        try:
            create(path)
            super().__init__(path)
            with self._opening():
                self._file = path.stat().st_ino
                self._db.execute("PRAGMA query_only=OFF")
                self._db.execute("PRAGMA secure_delete=ON")  # What is pruned is gone from the file too.
                self._db.execute("PRAGMA wal_autocheckpoint=0")
                self._db.execute(f"PRAGMA {LONGEST_JOURNAL}")
                self._db.execute("PRAGMA busy_timeout=250")
                self._epoch = 0
                self.pulse()
        except FAILURES as error:
            raise unavailable(path, error) from error
        except OSError as error:
            raise LogUnavailable(f"{path}: {error.strerror}") from error
        self._copier: threading.Thread | None = None
        self._wal_pages = 0
        self._uncopied = 0

    def append(self, known: int, records: Sequence[bytes], change: Change | None = None) -> Pulse | None:
        """Add records at the indexes from `known` on, and what they change of the control projection."""
        before = self._epoch
        epoch = before if change is None else known + change.ahead
        if change is not None and change.epoch != before:
            return None

        def work(db: sqlite3.Connection) -> None:
            db.executemany(_APPEND, enumerate(records, known))
            if change is not None:
                _save_control(db, change.rows, epoch)

        self._commit(work)
        self._epoch = epoch
        self._uncopied += sum(map(len, records))
        return Pulse(known, before)

    def pulse(self) -> Pulse:
        """Return how far the log is."""
        row = self._one("SELECT epoch FROM epoch")
        if row is None or type(row[0]) is not int:
            raise LogUnavailable(f"{self._path.name}: the stored control state {DAMAGED}")
        self._epoch = row[0]
        return Pulse(self.size(), self._epoch)

    def elect(self) -> bool:
        """Nobody else writes to the file."""
        return True

    def bind(self, verifier: str) -> str:
        """The key lies beside the file: whoever opens one has the other."""
        return verifier

    def save_checkpoint(self, size: int, note: bytes, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """Keep a signed checkpoint together with its new and longer tiles."""

        def work(db: sqlite3.Connection) -> None:
            rows = [(level, index, hashes) for (level, index), hashes in tiles.items()]
            db.executemany("INSERT OR REPLACE INTO tiles (level, idx, hashes) VALUES (?, ?, ?)", rows)
            db.execute("INSERT INTO checkpoints (size, note) VALUES (?, ?)", (size, note))

        self._commit(work)

    def prune(self, start: int, before: int, limit: int) -> int:
        """Delete what is no control record among the first `limit` records in [start, before)."""
        rows = [row for row in self.read(start, limit) if row[0] < before]
        doomed = [(index,) for index, data in rows if not is_control(data)]
        if doomed:

            def work(db: sqlite3.Connection) -> None:
                db.executemany("DELETE FROM records WHERE idx = ?", doomed)

            self._commit(work)
            self._uncopied += sum(len(data) for _, data in rows)
        return rows[-1][0] + 1 if len(rows) == limit else before

    def _commit(self, work: Callable[[sqlite3.Connection], None]) -> None:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            work(db)
            db.execute("COMMIT")
        except BaseException as error:
            self._roll_back()
            if (getattr(error, "sqlite_errorname", None) or "").startswith("SQLITE_READONLY"):
                # SQLite opens a file read-only where opening it to write failed, and that for good: open it anew.
                self._db.close()
            if isinstance(error, FAILURES):
                raise unavailable(self._path, error) from error
            raise

    def _roll_back(self) -> None:
        """Leave nothing of a transaction; the failing step may already have done so itself (a full disk does)."""
        try:
            if self._db.in_transaction:
                self._db.rollback()
        except sqlite3.Error:
            self._db.close()  # Never read from a connection that may still see what was not committed.

    def check(self) -> None:
        """What is written to a file that was deleted or replaced would be lost without anybody noticing."""
        try:
            same = self._path.stat().st_ino == self._file
        except OSError:
            same = False
        if not same:
            raise LogUnavailable(
                f"{self._path.name} was deleted or replaced while in use; stop, restore it, start again"
            )

    def reopen(self) -> Self:
        """Open the same file again.

        Only when nothing else helps: closing a SQLite file copies its write-ahead log back, which takes the very
        space that a full disk was just given.
        """
        with suppress(LogUnavailable):
            self.close()
        return type(self)(self._path)

    @property
    def untidy(self) -> bool:
        """Whether so much was written since that copying back is due."""
        return self._uncopied >= _COPY_BACK_BYTES

    def tidy(self) -> None:
        """Copy the write-ahead log back into the file when it has grown, in a thread.

        While commits go on, the thread never quite catches up, and the write-ahead log starts anew only when nothing
        is left to copy. So when it has become long, the short rest is copied here, between two commits.
        """
        self._uncopied = 0
        if self._wal_pages > _LONG_WAL_PAGES:
            self._wal_pages = 0
            with self._reading():
                _copy_back(self._db)
        elif self._copier is None or not self._copier.is_alive():
            self._copier = threading.Thread(target=self._copy_back_beside, name="log-copy-back", daemon=True)
            self._copier.start()

    def _copy_back_beside(self) -> None:
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=rw"  # A file that was deleted is not to come back empty.
            with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as db:
                self._wal_pages = _copy_back(db)
        except FAILURES as error:
            log.warning("%s", unavailable(self._path, error))

    def close(self) -> None:
        """Finish the housekeeping and let go of the file."""
        if self._copier is not None:
            self._copier.join()
        super().close()


def _save_control(db: sqlite3.Connection, rows: Sequence[Row], epoch: int) -> None:
    for kind, name, value in rows:
        if value is None:
            db.execute("DELETE FROM control WHERE kind = ? AND id = ?", (kind, name))
        else:
            db.execute("INSERT OR REPLACE INTO control (kind, id, value) VALUES (?, ?, ?)", (kind, name, value))
    db.execute("UPDATE epoch SET epoch = ?", (epoch,))


def _copy_back(db: sqlite3.Connection) -> int:
    """Copy what can be copied without waiting for anybody; return the pages that the write-ahead log had."""
    row = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(row[1])
