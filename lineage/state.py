"""The state database: what Cordon knows besides the log (accounts, sessions, alerts, followers' cursors).

Every table that lives in it is declared on `metadata` by the module that owns it, and made by `lineage.migrations`.
The same statements run on SQLite and PostgreSQL: texts are `Text`, and `insert` is the INSERT that knows ON CONFLICT.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import Dialect, Engine, MetaData, String, create_engine, event
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import TypeDecorator

from lineage.paths import make_private_file
from lineage.place import is_postgres
from lineage.sqlite_file import LONGEST_JOURNAL, write_ahead
from lineage.state_upgrade import upgrade

__all__ = ["Text", "insert", "look_at_state", "metadata", "open_state"]

metadata = MetaData()

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


class Text(TypeDecorator[str]):
    """A text of bounded length. What PostgreSQL cannot keep (NUL, lone surrogates) becomes U+FFFD on both databases.

    People and clients send such texts; a search for one finds nothing, and a record with one does not stop a follower.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """As it is stored and compared."""
        return None if value is None else _UNSTORABLE.sub("\ufffd", value)


def open_state(path: Path, database: str = "") -> Engine:
    """Open the state database and bring its tables to this version: PostgreSQL's where `database` names one.

    Otherwise it is the SQLite file at `path`. Writers wait up to 5 s for each other; every commit is durable when it
    returns. Raises LogUnavailable when the database cannot be reached or made, or is a newer program's.
    """
    if is_postgres(database):
        from lineage.postgres_session import describe
        from lineage.state_postgres import engine as postgres_engine

        engine, where = postgres_engine(database), f"state in the {describe(database)}"
    else:
        make_private_file(path)
        engine, where = _sqlite_engine(path), str(path)
    try:
        upgrade(engine, where)
    except BaseException:
        engine.dispose()
        raise
    return engine


def look_at_state(path: Path, database: str = "") -> Engine | None:
    """The state database for whoever only reads, as it is; None where there is no file yet. Nothing is made ready."""
    if is_postgres(database):
        from lineage.state_postgres import engine as postgres_engine

        return postgres_engine(database)
    return create_engine(f"sqlite:///file:{quote(str(path))}?mode=ro&uri=true") if path.exists() else None


def _sqlite_engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000", LONGEST_JOURNAL):
            cursor.execute(f"PRAGMA {pragma}")
        write_ahead(cursor.execute)
        cursor.close()

    return engine
