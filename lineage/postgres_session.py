"""One connection to the log's PostgreSQL database: opened with a time limit, made durable, its errors in plain words.

Nothing waits without end: a server that is paused, or a network that swallows packets, costs `PATIENCE` seconds, after
which the connection is given up.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.abc import PQGen, Query
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from lineage.errors import LogUnavailable

PATIENCE: Final = 5.0
"""Longest time in s that one statement may take: less than a client waits for the log writer."""
CONNECT_SECONDS: Final = 2
OLDEST_SERVER: Final = 140_000

# What it warns of is an error that is told anyway.
logging.getLogger("psycopg").setLevel(logging.ERROR)

_HINT: Final = (
    "write postgresql://USER:PASSWORD@HOST:PORT/NAME, special characters in the password percent-encoded "
    "(an @ as %40, a / as %2F)"
)

_SETTINGS: Final[Mapping[str, str]] = {
    "client_encoding": "UTF8",
    "client_min_messages": "warning",
    "default_transaction_isolation": "read committed",
    "search_path": "pg_catalog",
    "jit": "off",
    # The server lets go of a client that is gone within two seconds: its locks wait for that.
    "tcp_keepalives_idle": "1",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "1",
    "tcp_user_timeout": "2000",
    "client_connection_check_interval": "1000",
}
_REASONS: Final[Mapping[str, str]] = {
    "08": "the connection was lost",
    "23505": "an index is taken already; run `cordon log verify`",
    "25006": "the server is read-only, perhaps a replica; connect to the primary",
    "28": "the server refuses the user or the password",
    "3D": "the server has no database of this name; create it",
    "42501": "the user lacks a right; it needs to own the schema `cordon`, or CREATE on the database",
    "42P01": "a table of the log is missing; restore it from a copy",
    "53100": "the server's disk is full; free some space",
    "53300": "the server has no connection left; raise max_connections",
    "57P": "the server is being stopped or started",
    "58": "the server's disk reports an error",
    "XX001": "the database is damaged; run `cordon log verify` and restore from a copy",
    "XX002": "the database is damaged; run `cordon log verify` and restore from a copy",
}


def fault(database: str) -> str | None:
    """Say what is wrong with the address of a database, without repeating any of it; None when nothing is.

    A password with a bare `@` or `/` in it would be taken for a part of the host or the name, and then stand in the
    text of an error: such addresses are refused here, before anything connects.
    """
    try:
        parts = conninfo_to_dict(database)
    except psycopg.Error:
        return f"is not an address that PostgreSQL's library can read; {_HINT}"
    host, name, port = (str(parts.get(key) or "") for key in ("host", "dbname", "port"))
    if not re.fullmatch(r"[\w.:/,%-]*", host) or not re.fullmatch(r"[0-9,]*", port) or re.search("[@/:]", name):
        return f"does not read as one host, port and name; {_HINT}"
    if not name:
        return f"names no database; {_HINT}"
    return None


def describe(database: str) -> str:
    """Return the database's name and host for messages; never the user or the password."""
    parts = conninfo_to_dict(database)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    return f"PostgreSQL database {parts.get('dbname')} at {host}" + (f":{parts['port']}" if parts.get("port") else "")


class _Connection(psycopg.Connection[TupleRow]):
    """A connection on which no statement waits for longer than its patience in s."""

    patience = PATIENCE

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if error.sqlstate is None:
                # Or what tidies up after it would wait as long again, once for each block it leaves.
                self.pgconn.finish()
            raise


class Session:
    """A connection. After `LogUnavailable`, `lost` says whether it is of any more use; a lost one is closed.

    `silent`: the server said nothing about the error, so it is gone, or hangs.
    """

    def __init__(
        self, database: str, name: str, extra: Mapping[str, str] | None = None, patience: float = PATIENCE
    ) -> None:
        """Connect under the application name `name`, with `extra` session settings; LogUnavailable if not possible."""
        self.where = describe(database)
        self.lost = False
        self.silent = False
        try:
            self._db = _Connection.connect(
                database, autocommit=True, prepare_threshold=0, application_name=name, connect_timeout=CONNECT_SECONDS
            )
        except psycopg.Error as error:
            raise self._unavailable(error) from None
        self._db.patience = patience
        try:
            self._prepare(extra or {})
        except BaseException:
            self.close()
            raise

    def _prepare(self, extra: Mapping[str, str]) -> None:
        version = self._db.info.server_version
        if version < OLDEST_SERVER:
            raise LogUnavailable(f"{self.where}: the server is version {version // 10_000}; 14 or newer is needed")
        settings = {**_SETTINGS, **extra}
        columns = ", ".join("set_config(%s, %s, false)" for _ in settings)
        self.rows(f"SELECT {columns}", [part for pair in settings.items() for part in pair])
        encoding = self.rows("SELECT current_setting('server_encoding')")[0][0]
        if encoding != "UTF8":
            raise LogUnavailable(f"{self.where}: the database's encoding is {encoding}; create it with UTF8")

    def rows(self, query: Query | str, values: Sequence[object] | Mapping[str, object] | None = None) -> list[Any]:
        """Run one statement in one round trip and return its rows; LogUnavailable when that fails."""
        if self.lost:
            raise LogUnavailable(f"{self.where}: the connection was lost")
        try:
            cursor = self._db.execute(query, values, binary=True)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            if error.sqlstate is None or self._db.broken or self._db.closed:
                self.close()
            raise self._unavailable(error) from None
        except BaseException:
            self.close()  # Interrupted in the middle: what the server still does with it is not known.
            raise

    def together(self, statements: Sequence[tuple[str, Mapping[str, object]]]) -> list[list[Any]]:
        """Run statements in one transaction and one round trip, each on what others committed before it began.

        Returns the rows of each; LogUnavailable when any of them fails, and then nothing was done.
        """
        if self.lost:
            raise LogUnavailable(f"{self.where}: the connection was lost")
        try:
            # The library's own transactions wait for the server at both ends, in a pipeline too.
            with self._db.pipeline():
                self._db.execute("BEGIN")
                cursors = [self._db.execute(query, values, binary=True) for query, values in statements]
                self._db.execute("COMMIT")
            return [cursor.fetchall() if cursor.description else [] for cursor in cursors]
        except psycopg.Error as error:
            self.close()
            raise self._unavailable(error) from None
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is run inside is committed together at its end, or not at all."""
        try:
            with self._db.transaction():
                yield
        except psycopg.Error as error:
            self.close()
            raise self._unavailable(error) from None

    def close(self) -> None:
        """Let go of the connection."""
        self.lost = True
        self._db.close()

    def _unavailable(self, error: psycopg.Error) -> LogUnavailable:
        """What an error means to the operator. The server's own text is kept to its first line; it holds no data."""
        state = error.sqlstate or ""
        self.silent = not state
        reason = next((text for prefix, text in _REASONS.items() if state.startswith(prefix)), "")
        if not reason:
            said = (error.diag.message_primary or str(error)).strip().splitlines()
            reason = said[0] if said else type(error).__name__
            if not state:
                reason = f"the server does not answer ({reason})"
        return LogUnavailable(f"{self.where}: {reason}" + (f" ({state})" if state else ""))
