"""The state database: what Cordon knows besides the log (accounts, sessions, alerts, followers' cursors).

Every table that lives in it is declared on `metadata` by the module that owns it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event

from lineage.paths import make_private_file

metadata = MetaData()


def open_state(path: Path) -> Engine:
    """Open (and where it is new, create) the state database; import the modules that declare tables before.

    `path` is a SQLite file. Writers wait up to 5 s for each other; every commit is durable when it returns.
    Raises LogUnavailable when the file cannot be made.
    """
    make_private_file(path)
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    metadata.create_all(engine)
    return engine
