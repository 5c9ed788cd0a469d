"""Where a log lies: in a SQLite file of the data directory, or in a PostgreSQL database. Chosen by `database`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lineage.errors import LogUnavailable
from lineage.paths import Paths
from lineage.sqlite_store import SqliteSource, SqliteStore
from lineage.store import LogSource, LogStore

POSTGRES: tuple[str, ...] = ("postgresql://", "postgres://")


def is_postgres(database: str) -> bool:
    """Say whether the setting `database` names a PostgreSQL database; everything else is SQLite's."""
    return database.startswith(POSTGRES)


@dataclass(frozen=True, slots=True)
class LogPlace:
    """The log of a data directory; `database` is the setting of that name. Nothing is opened by making one.

    PostgreSQL's library is loaded where it is used, so that a log writer on SQLite is back quickly after a crash.
    """

    data_dir: Path
    database: str = field(default="", repr=False)

    @property
    def remote(self) -> bool:
        """Whether other machines may use the log too."""
        return is_postgres(self.database)

    @property
    def name(self) -> str:
        """What messages call the log: its file, or its database and host."""
        if not self.remote:
            return str(Paths(self.data_dir).log)
        from lineage.postgres_session import describe

        return f"log in the {describe(self.database)}"

    def exists(self) -> bool:
        """Say whether there is a log; LogUnavailable when the database does not answer, or the disk."""
        if not self.remote:
            try:
                file = Paths(self.data_dir).log
                return file.exists() and file.stat().st_size > 0
            except OSError as error:
                raise LogUnavailable(f"{self.name}: {error.strerror}") from error
        from lineage.postgres_store import log_exists

        return log_exists(self.database)

    def source(self) -> LogSource:
        """Open the log for reading; LogUnavailable when there is none."""
        if not self.remote:
            return SqliteSource(Paths(self.data_dir).log)
        from lineage.postgres_store import PostgresSource

        return PostgresSource(self.database)

    def store(self) -> LogStore:
        """Open the log for writing, making it where there is none; the caller holds `writer_lock`."""
        if not self.remote:
            return SqliteStore(Paths(self.data_dir).log)
        from lineage.postgres_store import PostgresStore

        return PostgresStore(self.database)
