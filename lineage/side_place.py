"""Where lies what lies beside the log: in a SQLite file of the data directory, or in the log's PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lineage.paths import Paths
from lineage.place import is_postgres
from lineage.side import SideStore
from lineage.sqlite_side import SqliteSide
from lineage.tokens import Tokens, TokenStore

CONNECTIONS: Final = 4
"""Connections of one process to a PostgreSQL database for tokens, and as many threads that use them."""


@dataclass(frozen=True, slots=True)
class SidePlace:
    """The side tables of a data directory; `database` is the setting of that name. Nothing is opened by making one."""

    data_dir: Path
    database: str = field(default="", repr=False)

    @property
    def remote(self) -> bool:
        """Whether other machines share the tables, and each use of them may take a network's time."""
        return is_postgres(self.database)

    @property
    def name(self) -> str:
        """What messages call the place: its file, or its database and host."""
        if not self.remote:
            return str(Paths(self.data_dir).side)
        from lineage.postgres_session import describe

        return f"side tables in the {describe(self.database)}"

    def exists(self) -> bool:
        """Say whether there is anything; LogUnavailable when the database does not answer."""
        if not self.remote:
            return Paths(self.data_dir).side.exists()
        from lineage.postgres_session import Session
        from lineage.side_sql import exist

        session = Session(self.database, "cordon side")
        try:
            return exist(session)
        finally:
            session.close()

    def side(self) -> SideStore:
        """Open blobs and tenants' keys, making their tables where there are none; LogUnavailable where that fails."""
        if not self.remote:
            return SqliteSide(Paths(self.data_dir).side)
        from lineage.postgres_side import PostgresSide

        return PostgresSide(self.database)

    def tokens(self, *, most: int) -> Tokens:
        """Open the table of tokens; `most` are kept for one principal."""
        if not self.remote:
            return TokenStore(Paths(self.data_dir).side, most=most)
        from lineage.postgres_tokens import PostgresTokens

        return PostgresTokens(self.database, most=most, connections=CONNECTIONS)
