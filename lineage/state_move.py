"""Takes the state from SQLite to PostgreSQL: accounts, links, sessions, alerts and the followers' places.

All of it is one transaction on the other side, compared before it is committed. What was copied and is still the same
is not copied again, so that a move that broke off afterwards can be made again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Table, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from lineage.errors import LogUnavailable
from lineage.state import open_state

_CHUNK: Final = 1_000


def copy_state(path: Path, database: str, tables: Sequence[Table]) -> int:
    """Bring the rows of `tables` from the file at `path` to the PostgreSQL `database`; returns how many there are.

    0 where there is no file. Nothing else may use either state meanwhile. What the database has of its own stays only
    where it is the same; LogUnavailable when it is not, or when one of the two fails: then nothing was changed.
    """
    if not path.exists():
        return 0
    source, target = open_state(path), open_state(path, database)
    try:
        with source.connect() as old, target.begin() as new:
            rows = sum(_copy(old, new, table) for table in tables)
    except SQLAlchemyError as error:
        cause = str(error.__cause__ or error).partition("\n")[0]
        raise LogUnavailable(f"the state could not be moved, nothing was changed: {cause}") from error
    finally:
        source.dispose()
        target.dispose()
    return rows


def _copy(old: Connection, new: Connection, table: Table) -> int:
    """Copy one table, or find that it was copied before."""
    keys = list(table.primary_key)
    count = old.scalar(select(func.count()).select_from(table)) or 0
    there = new.scalar(select(func.count()).select_from(table)) or 0
    if there and not _only_begun(new, table) and not _same(old, new, table):
        raise LogUnavailable(f"the database has a state of its own ({table.name}); name an empty database")
    if there != count or not _same(old, new, table):
        new.execute(delete(table))
        for first in range(0, count, _CHUNK):
            rows = old.execute(select(table).order_by(*keys).offset(first).limit(_CHUNK)).mappings().all()
            new.execute(insert(table), [dict(row) for row in rows])
    if not _same(old, new, table):
        raise LogUnavailable(f"the copy of {table.name} is not what was copied, nothing was changed; stop Cordon first")
    return count


def _only_begun(new: Connection, table: Table) -> bool:
    """Whether a table holds no more than what making it has put there: the row of a count that is still 0."""
    rows = new.execute(select(table).limit(2)).all()
    return len(rows) == 1 and tuple(rows[0]) == (1, 0)


def _same(old: Connection, new: Connection, table: Table) -> bool:
    """Whether both have the same rows, in whatever order: each database sorts text by rules of its own."""
    keys = list(table.primary_key)
    count = old.scalar(select(func.count()).select_from(table))
    if count != new.scalar(select(func.count()).select_from(table)):
        return False
    last = None
    while True:
        query = select(table).order_by(*keys).limit(_CHUNK)
        rows = old.execute(query if last is None else query.where(keys[0] > last)).all()
        if not rows:
            return True
        names = [row[0] for row in rows]
        if set(map(tuple, rows)) != set(map(tuple, new.execute(select(table).where(keys[0].in_(names))).all())):
            return False
        last = names[-1]
