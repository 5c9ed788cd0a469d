"""The log in a PostgreSQL database: written by one log writer on each machine, read by any process.

Every writer appends. The server puts the appends in order: each takes the one row that says how far the log is, finds
its place there, and learns the epoch of the control state in the same round trip.

One of the writers is elected to keep the tree and to sign checkpoints. The right to that is two things. An advisory
lock that the elected session holds: when the session ends, however it ends, the server gives the lock to the next who
asks. And a number, the term, that whoever gets the lock raises: a checkpoint names the term that it was made in. So a
writer that lost its session, or was asleep while another took over, cannot save any more.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

from psycopg.types.numeric import Int8

from lineage import postgres_sql as sql
from lineage.control import ControlState, from_rows, is_control
from lineage.errors import LogUnavailable, WriterPresent
from lineage.postgres_session import Session, describe
from lineage.store import SEARCH_LIMIT, Change, Pulse

LOCK: Final = 0x436F7264_6C6F6701
"""The advisory lock of the elected log writer ("Cordlog" and a one); such locks are each database's own."""

MAKING: Final = LOCK + 1
"""The advisory lock of whoever makes the tables."""

READ_PATIENCE: Final = 3.0
"""Longest time in s that one read may take. Some readers read in their event loop: a read, a new connection and the
read again must take less time than a process may be silent."""


class PostgresSource:
    """Reads the log; open one per process. May be used from several threads, which take turns.

    A read that fails because the connection was lost is tried once more on a new one.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._turn = threading.RLock()
        self._session = self._connect()

    def _connect(self) -> Session:
        session = Session(self._database, "cordon reader", {"default_transaction_read_only": "on"}, READ_PATIENCE)
        try:
            if not _exists(session):
                raise LogUnavailable(f"there is no log in the {session.where} yet; `cordon up` makes it")
            _check_format(session)
        except BaseException:
            session.close()
            raise
        return session

    def size(self) -> int:
        """Return how many records there are."""
        return int(self._rows("SELECT coalesce(max(idx) + 1, 0) FROM cordon.records")[0][0])

    def read(self, start: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` records from index `start` on."""
        query = "SELECT idx, data FROM cordon.records WHERE idx >= %b ORDER BY idx LIMIT %b"
        return self._rows(query, (Int8(start), Int8(limit)))

    def checkpoint(self) -> tuple[int, bytes] | None:
        """Return the latest checkpoint as (size, signed note)."""
        rows = self._rows("SELECT size, note FROM cordon.checkpoints ORDER BY size DESC LIMIT 1")
        return rows[0] if rows else None

    def checkpoints(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` checkpoints of a size greater than `after`."""
        query = "SELECT size, note FROM cordon.checkpoints WHERE size > %b ORDER BY size LIMIT %b"
        return self._rows(query, (Int8(after), Int8(limit)))

    def stored_tile(self, level: int, index: int) -> bytes | None:
        """Return the tile as of the latest checkpoint."""
        query = "SELECT hashes FROM cordon.tiles WHERE level = %b AND idx = %b"
        rows = self._rows(query, (Int8(level), Int8(index)))
        return rows[0][0] if rows else None

    def stored_tiles(self, level: int) -> tuple[int, int]:
        """Return how many tiles of a level are stored, and how many of them lie below that number."""
        query = """WITH level AS (SELECT idx FROM cordon.tiles WHERE level = %b), total AS (SELECT count(*) FROM level)
            SELECT (SELECT count FROM total), count(*) FROM level, total WHERE idx >= 0 AND idx < total.count"""
        count, below = self._rows(query, (Int8(level),))[0]
        return count, below

    def levels(self) -> int:
        """Return one more than the highest level of which a tile is stored."""
        return int(self._rows("SELECT coalesce(max(level) + 1, 0) FROM cordon.tiles")[0][0])

    def control(self) -> ControlState:
        """Return the stored projection of the control records."""
        query = "SELECT epoch, kind, id, value FROM cordon.log LEFT JOIN cordon.control ON true"
        rows = self._rows(query)
        try:
            return from_rows(rows[0][0], [(kind, name.decode(), value) for _, kind, name, value in rows if kind])
        except (LookupError, TypeError, ValueError) as error:
            text = "the stored control state is damaged; run `cordon log verify` and restore from a copy"
            raise LogUnavailable(f"{self._session.where}: {text}") from error

    def search(self, needle: bytes, start: int, end: int) -> list[tuple[int, bytes]]:
        """Return the records in [start, end) that contain `needle`."""
        query = """SELECT idx, data FROM cordon.records
            WHERE idx >= %b AND idx < %b AND position(%b::bytea IN data) > 0 ORDER BY idx LIMIT %b"""
        return self._rows(query, (Int8(start), Int8(end), needle, Int8(SEARCH_LIMIT)))

    def close(self) -> None:
        """Let go of the database."""
        with self._turn:
            self._session.close()

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        with self._turn:
            try:
                return self._session.rows(query, values)
            except LogUnavailable:
                if not self._session.lost:
                    raise
            self._session = self._connect()
            return self._session.rows(query, values)


class PostgresStore(PostgresSource):
    """Writes the log, beside other machines' writers.

    It does not connect again by itself: a lost session is a lost election, and its last commit is in doubt. `reopen`
    gives a new store.
    """

    def __init__(self, database: str, name: str = "") -> None:
        """Make the tables of a new log. `name` is that of a session of ours that this one replaces."""
        self._replaces = bool(name)
        self._name = name or f"cordon writer {secrets.token_hex(8)}"
        self._opened = False
        self.term = 0
        super().__init__(database)
        self._opened = True

    def _connect(self) -> Session:
        if self._opened:
            raise LogUnavailable(f"the session that writes to the {describe(self._database)} was lost")
        session = Session(self._database, self._name)
        try:
            _check_durable(session)
            if not _exists(session):
                _create(session)
            _check_format(session)
            _check_logged(session)
            if self._replaces:
                session.rows(sql.END_OWN, (Int8(LOCK >> 32), Int8(LOCK & 0xFFFFFFFF), self._name))
        except BaseException:
            session.close()
            raise
        return session

    def elect(self) -> bool:
        """Say whether this store may save checkpoints; it may as long as its session lives, once it was elected."""
        with self._turn:
            if not self.term and self._session.rows("SELECT pg_try_advisory_lock(%b)", (Int8(LOCK),))[0][0]:
                # Waits for what an earlier one still saves; from here on no other saves anything.
                self.term = int(self._session.rows("UPDATE cordon.log SET term = term + 1 RETURNING term")[0][0])
            return bool(self.term)

    def bind(self, verifier: str) -> str:
        """Return the public key of the log's checkpoints; `verifier` from now on where it has none yet."""
        with self._turn:
            return str(self._session.rows(sql.BIND, (verifier,))[0][0])

    def pulse(self) -> Pulse:
        """Return how far the log is now."""
        with self._turn:
            return Pulse(*self._session.rows("SELECT size, epoch FROM cordon.log")[0])

    def append(self, known: int, records: Sequence[bytes], change: Change | None = None) -> Pulse | None:
        """Add records behind all that are there, and what they change of the control projection."""
        values: dict[str, object] = {"known": Int8(known), "count": Int8(len(records)), "records": list(records)}
        query = sql.APPEND
        if change is not None:
            query = sql.APPEND_CONTROL
            gone = [(kind, name.encode()) for kind, name, value in change.rows if value is None]
            kept = [(kind, name.encode(), value) for kind, name, value in change.rows if value is not None]
            values |= {
                "epoch": Int8(change.epoch),
                "ahead": Int8(change.ahead),
                "gone_kinds": [kind for kind, _ in gone],
                "gone": [name for _, name in gone],
                "kinds": [kind for kind, _, _ in kept],
                "ids": [name for _, name, _ in kept],
                "values": [value for _, _, value in kept],
            }
        with self._turn:
            rows = self._session.rows(query, values)
        return Pulse(*rows[0]) if rows else None

    def prune(self, start: int, before: int, limit: int) -> int:
        """Delete what is no control record among the first `limit` records in [start, before)."""
        rows = [row for row in self.read(start, limit) if row[0] < before]
        doomed = [Int8(index) for index, data in rows if not is_control(data)]
        if doomed:
            with self._turn:
                self._session.rows("DELETE FROM cordon.records WHERE idx = ANY (%b::bigint[])", (doomed,))
        return rows[-1][0] + 1 if len(rows) == limit else before

    def save_checkpoint(self, size: int, note: bytes, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """Keep a signed checkpoint together with its new and longer tiles."""
        values = {
            "term": Int8(self.term),
            "size": Int8(size),
            "note": note,
            "levels": [Int8(level) for level, _ in tiles],
            "indexes": [Int8(index) for _, index in tiles],
            "hashes": list(tiles.values()),
        }
        with self._turn:
            if self.term and self._session.rows(sql.CHECKPOINT, values)[0][0]:
                return
            if self.term:
                self.term = 0
                self._session.rows("SELECT pg_advisory_unlock_all()")
        raise WriterPresent(f"another log writer signs the {self._session.where} now; this checkpoint was not saved")

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside is committed together at the end, or not at all; others wait with their appends."""
        with self._turn, self._session.transaction():
            self._session.rows("SELECT 1 FROM cordon.log FOR UPDATE")
            yield

    def check(self) -> None:
        """Each append looks for itself whether the log has all that this writer knows of."""

    def reopen(self) -> Self:
        """Close this store, and whatever the server still takes for its session."""
        self.close()
        return type(self)(self._database, self._name)

    @property
    def untidy(self) -> bool:
        """The server keeps its own house."""
        return False

    def tidy(self) -> None:
        """Do nothing."""


def log_exists(database: str) -> bool:
    """Say whether the database has a log; LogUnavailable when it cannot be asked."""
    session = Session(database, "cordon reader")
    try:
        return _exists(session)
    finally:
        session.close()


def _exists(session: Session) -> bool:
    # The table itself: `to_regclass` may remember, within a transaction, that there was none.
    return bool(session.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'cordon' AND tablename = 'log'")[0][0])


def _create(session: Session) -> None:
    """Make the tables, all or none, unless another machine was first."""
    with session.transaction():
        session.rows("SELECT pg_advisory_xact_lock(%b)", (Int8(MAKING),))
        if _exists(session):
            return
        for statement in sql.SCHEMA:
            session.rows(statement)


def _check_format(session: Session) -> None:
    version = session.rows("SELECT version FROM cordon.log")
    if version != [(sql.SCHEMA_VERSION,)]:
        found = version[0][0] if len(version) == 1 else "unknown"
        raise LogUnavailable(
            f"{session.where}: not a log that this version reads (schema {found}, not {sql.SCHEMA_VERSION})"
        )


def _check_durable(session: Session) -> None:
    """Refuse a server that acknowledges what it may lose; ask for a commit on the disk at least."""
    fsync, commit, replica = session.rows(
        "SELECT current_setting('fsync'), current_setting('synchronous_commit'), pg_is_in_recovery()"
    )[0]
    if replica:
        raise LogUnavailable(f"{session.where}: the server is a read-only replica; connect to the primary")
    if fsync != "on":
        raise LogUnavailable(f"{session.where}: the server runs with fsync={fsync} and may lose what it commits")
    if commit not in {"on", "remote_apply"}:
        session.rows("SELECT set_config('synchronous_commit', 'on', false)")


def _check_logged(session: Session) -> None:
    """Refuse tables that a crash of the server would empty: somebody made them UNLOGGED to save time."""
    query = """SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'cordon' AND relkind = 'r' AND relpersistence <> 'p' ORDER BY relname"""
    if found := [name for (name,) in session.rows(query)]:
        remedy = f"ALTER TABLE cordon.{found[0]} SET LOGGED"
        raise LogUnavailable(f"{session.where}: a crash would empty an unlogged table; {remedy}")
