"""The state database on PostgreSQL: connections that are bounded in time and durable, and how a lost one shows."""

from __future__ import annotations

import select
from typing import Final

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError

from lineage.postgres_session import PATIENCE, Session
from lineage.postgres_store import _check_durable
from lineage.state_upgrade import SCHEMA, version

CONNECTIONS: Final = 5
MORE_CONNECTIONS: Final = 5
"""So many beyond the first are opened while all are in use, and closed again."""

_SETTINGS: Final = {
    "search_path": SCHEMA,
    # A change of accounts holds its lock while its record is written, which takes 4 s at most.
    "lock_timeout": "4500ms",
    "statement_timeout": "4500ms",
    # A process that was stopped in the middle of a change does not stop those of other machines.
    "idle_in_transaction_session_timeout": "10s",
}


def engine(database: str) -> Engine:
    """An engine on the database at this address. Connecting raises LogUnavailable, in words that name the server."""

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        session = Session(database, "cordon state", _SETTINGS, PATIENCE)
        try:
            _check_durable(session)
            # Statements that are prepared would outlive a change of their tables by another machine's upgrade.
            session._db.prepare_threshold = None
            session._db.autocommit = False
        except BaseException:
            session.close()
            raise
        return session._db

    made = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=CONNECTIONS,
        max_overflow=MORE_CONNECTIONS,
        pool_timeout=PATIENCE,
        use_native_hstore=False,
    )
    event.listen(made, "checkout", _notice_end)
    event.listen(made, "handle_error", _notice_loss)
    return made


def stored_version(database: str) -> str:
    """The version of the tables there, which are neither made nor changed; empty where there are none."""
    made = engine(database)
    try:
        with made.connect() as connection:
            return version(connection)
    finally:
        made.dispose()


def _notice_end(connection: psycopg.Connection[tuple[object, ...]], _record: object, _proxy: object) -> None:
    """Take a new connection in place of one that the server has ended: what it said last waits to be read.

    That costs no round trip, and nothing that could hang, as asking the server would.
    """
    if not connection.closed:
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        if not waiting.poll(0):
            return
    raise DisconnectionError


def _notice_loss(context: ExceptionContext) -> None:
    """A statement that was given up without a word of the server leaves a connection that is of no more use."""
    error = context.original_exception
    if isinstance(error, psycopg.Error) and error.sqlstate is None:
        context.is_disconnect = True
