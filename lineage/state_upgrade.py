"""Brings a state database to the tables of this program, under a lock: many processes may start at the same moment.

Alembic is loaded only where there is something to do, since it takes half a second.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from lineage.errors import LogUnavailable

MIGRATIONS: Final = Path(__file__).parent / "migrations"
SCHEMA: Final = "cordon_state"
"""Where the tables lie on PostgreSQL; the search path of every connection."""
LOCK: Final = 0x436F7264_73746101
"""The advisory lock of those who upgrade ("Cordsta" and a one); such locks are each database's own."""


_one_at_a_time = threading.Lock()
"""Alembic keeps the connection that it works on in a variable of its module."""
_log = logging.getLogger("cordon.lineage.state")


def head() -> str:
    """The version of this program's tables: that of the last file in `migrations/versions`."""
    return max(path.stem for path in (MIGRATIONS / "versions").glob("v*.py")).partition("_")[0]


def upgrade(engine: Engine, where: str) -> None:
    """Make the tables of a new database, or bring those of an older program up to this one, all or nothing.

    `where` is what messages call the database. LogUnavailable when it is of a newer program, or when that fails.
    """
    try:
        with engine.connect() as connection:
            if version(connection) == head():
                return
        with _one_at_a_time, engine.connect() as connection, connection.begin():
            _lock(connection)
            before = version(connection)
            if before == head():
                return
            _check_known(before, where)
            _run(connection)
    except SQLAlchemyError as error:
        cause = str(error.__cause__ or error).partition("\n")[0]
        raise LogUnavailable(f"{where}: its tables cannot be made ready: {cause}") from error
    _log.info("%s: tables brought from %s to %s", where, before or "none", head())


def version(connection: Connection) -> str:
    """The version of the tables that a database has; empty where it has none."""
    if connection.dialect.name == "postgresql":
        there = "SELECT to_regclass('cordon_state.alembic_version') IS NOT NULL"
    else:
        there = "SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'"
    if not connection.scalar(text(there)):
        return ""
    return connection.scalar(text("SELECT version_num FROM alembic_version")) or ""


def _lock(connection: Connection) -> None:
    """Wait for whoever else upgrades; the lock goes with the transaction."""
    if connection.dialect.name != "postgresql":
        connection.execute(text("BEGIN IMMEDIATE"))
        return
    for setting in ("lock_timeout", "statement_timeout"):
        connection.execute(text("SELECT set_config(:setting, :value, true)"), {"setting": setting, "value": "60s"})
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))


def _check_known(before: str, where: str) -> None:
    if before and not list((MIGRATIONS / "versions").glob(f"{before}_*.py")):
        raise LogUnavailable(
            f"{where}: its tables are of version {before}, this program knows those up to {head()}; "
            "run the newer program, or restore a copy from before its update"
        )


def _run(connection: Connection) -> None:
    # It tells of each of its parts; what concerns the operator is said here, in one line.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
