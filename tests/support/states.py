"""Where a test keeps its state: a SQLite file, or a new database on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from lineage.state import open_state


@dataclass
class StatePlace:
    """One state database, which may be opened several times, as by processes on several machines."""

    path: Path
    database: str = ""
    opened: list[Engine] = field(default_factory=list)

    def open(self) -> Engine:
        """Open it; the test's end closes it."""
        engine = open_state(self.path, self.database)
        self.opened.append(engine)
        return engine

    def close(self) -> None:
        for engine in self.opened:
            engine.dispose()


NewPlace = Callable[[], StatePlace]
"""Makes another place of the same kind, with nothing in it."""
