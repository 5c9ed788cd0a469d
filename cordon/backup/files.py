"""Files of a backup: directories that appear whole or not at all, SQLite's online copies, and the keys."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Table, delete

from cordon.errors import BackupError
from lineage.erasure import LARGEST
from lineage.paths import flush, make_private_file
from lineage.sqlite_file import FAILURES, unavailable

Progress = Callable[[int], object]

_PAGES: Final = 1_000
"""Pages between two notes of progress."""


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Yield a private directory beside `target` that is renamed to it at the end, or removed where that is not reached.

    BackupError where there is something at `target`, or somebody else is making it.
    """
    if os.path.lexists(target):
        raise BackupError(f"{target} is there already; name a directory that is not")
    with working(target) as work:
        yield work
        for path in work.iterdir():
            flush(path)
        flush(work)
        work.rename(target)
        flush(target.parent)


@contextmanager
def working(target: Path) -> Iterator[Path]:
    """Yield an empty private directory beside `target` that is gone at the end; one that a killed process left is used.

    BackupError where another process has it.
    """
    work = target.with_name(f".{target.name}.unfinished")
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _lock(held, target)
        os.fchmod(held, 0o700)
        _empty(work)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(held)


def _lock(held: int, target: Path) -> None:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BackupError(f"another process is making {target}") from None


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def copy_database(source: Path, target: Path, progress: Progress) -> None:
    """Copy a SQLite database that others write to, as of one moment; LogUnavailable where that is not possible.

    The one transaction that is open all the time sees one state, and nobody waits for it; without it SQLite would
    begin anew with each commit of somebody else. `progress` is told how many more bytes were copied.
    """
    make_private_file(target)
    copied = 0
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as old,
            closing(sqlite3.connect(target, isolation_level=None)) as new,
        ):
            size = old.execute("PRAGMA page_size").fetchone()[0]
            old.execute("BEGIN")
            old.execute("SELECT count(*) FROM sqlite_master").fetchone()

            def step(_status: int, remaining: int, total: int) -> None:
                nonlocal copied
                done = (total - remaining) * size
                progress(done - copied)
                copied = done

            old.backup(new, pages=_PAGES, progress=step)
    except FAILURES as error:
        raise unavailable(target, error) from error


def empty_tables(path: Path, tables: Sequence[Table]) -> None:
    """Take all rows out of these tables of a SQLite database, and their bytes too; LogUnavailable where that fails."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA secure_delete=ON")
            there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            for table in tables:
                if table.name in there:
                    db.execute(str(delete(table)))
    except FAILURES as error:
        raise unavailable(path, error) from error


def check_database(path: Path) -> None:
    """Raise BackupError where a SQLite database is damaged; leaves nothing beside it."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except FAILURES as error:
        raise unavailable(path, error) from error
    if found != "ok":
        raise BackupError(f"{path.name} is damaged: {found}")


def copy_keys(source: Path, target: Path) -> None:
    """Copy a directory of keys, private, into the directory `target`, which is there; BackupError where it has none."""
    names = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    if not any(path.name == "log.key" for path in names):
        raise BackupError(f"{source} has no log.key: it is no directory of keys")
    for path in names:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise BackupError(f"{path} has more than {LARGEST >> 20} MiB: it is no file of keys; move it away")
        with open(os.open(target / path.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(data)
