"""What lies on PostgreSQL: dumped and restored by PostgreSQL's own programs, which know every version's ways.

The address never stands on a command line, where anybody on the machine could read it: the password is in the
program's environment, the rest in a service file that only this user may read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from cordon.errors import BackupError
from lineage.postgres_session import Session, describe

FILE: Final = "cordon.dump"
_SCHEMAS: Final = "cordon*"
_DEBIAN: Final = "/usr/lib/postgresql"
_SERVICE: Final = "cordon"


def dump(database: str, target: Path, empty: Sequence[str] = ()) -> None:
    """Write everything of Cordon's in the database to the file `target`, as of one moment; BackupError.

    Of the tables `empty` (schema.name) the rows are left out.
    """
    options = ["--format=custom", f"--schema={_SCHEMAS}", "--no-owner", "--no-privileges", "--lock-wait-timeout=30s"]
    options += [f"--exclude-table-data={name}" for name in empty]
    _run(program("pg_dump"), [*options, f"--file={target}"], database)


def restore(database: str, source: Path) -> None:
    """Bring a dump into a database that has nothing of Cordon's, all of it or nothing; BackupError."""
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run(program("pg_restore"), [*options, str(source)], database)


def program(name: str) -> str:
    """Return the newest of PostgreSQL's programs of this name; BackupError says where to get it."""
    homes = [home for home in Path(_DEBIAN).glob("*/bin") if home.parent.name.isdigit()]
    for home in sorted(homes, key=lambda home: int(home.parent.name), reverse=True):
        if os.access(home / name, os.X_OK):
            return str(home / name)
    found = shutil.which(name)
    if found is None:
        raise BackupError(
            f"{name} is not on the PATH nor under {_DEBIAN}; install PostgreSQL's client programs, of the server's "
            "version or newer (Debian: postgresql-client)"
        )
    return found


def schemas(database: str) -> list[str]:
    """Return the schemas of Cordon's that are in the database; LogUnavailable."""
    with closing(Session(database, "cordon backup")) as session:
        rows = session.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'cordon%' ORDER BY 1")
    return [str(row[0]) for row in rows]


def drop(database: str) -> None:
    """Take everything of Cordon's out of the database again; LogUnavailable."""
    names = schemas(database)
    with closing(Session(database, "cordon backup", patience=60.0)) as session:
        for name in names:
            session.rows(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def _run(command: str, options: Sequence[str], database: str) -> None:
    with _addressed(database) as environment:
        try:
            done = subprocess.run(
                [command, "--no-password", f"--dbname=service={_SERVICE}", *options],
                env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                umask=0o077, check=False,
            )  # fmt: skip
        except OSError as error:
            raise BackupError(f"{command}: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        name = Path(command).name
        text = said[0].removeprefix(f"{name}: ").removeprefix("error: ") if said else f"it ended with {done.returncode}"
        raise BackupError(f"{describe(database)}: {name}: {text[:300]}")


@contextmanager
def _addressed(database: str) -> Iterator[dict[str, str]]:
    """The environment in which libpq finds the database."""
    parts = {key: str(value) for key, value in conninfo_to_dict(database).items()}
    password = parts.pop("password", None)
    parts.setdefault("application_name", "cordon backup")
    with tempfile.TemporaryDirectory(prefix="cordon-") as directory:
        file = Path(directory) / "service"
        file.write_text(f"[{_SERVICE}]\n" + "".join(f"{key}={value}\n" for key, value in parts.items()))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        environment |= {key: os.environ[key] for key in ("PGPASSFILE", "PGSSLROOTCERT") if key in os.environ}
        environment |= {"PGSERVICEFILE": str(file), "LC_ALL": "C"}
        yield environment if password is None else environment | {"PGPASSWORD": password}
