"""Where the log's files lie under the data directory."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lineage.errors import LogUnavailable


@dataclass(frozen=True, slots=True)
class Paths:
    """The files of one data directory; nothing is made by asking for them."""

    data_dir: Path

    @property
    def log(self) -> Path:
        """The log's database."""
        return self.data_dir / "cordon-log.db"

    @property
    def side(self) -> Path:
        """The database of what lies beside the log: sealed blobs and the tenants' keys."""
        return self.data_dir / "cordon-side.db"

    @property
    def keys(self) -> Path:
        """Directory of the log's and the master key."""
        return self.data_dir / "keys"

    @property
    def run(self) -> Path:
        """Directory of what only matters while processes run."""
        return self.data_dir / "run"

    @property
    def socket(self) -> Path:
        """The log writer's Unix socket."""
        return self.run / "log.sock"

    @property
    def lock(self) -> Path:
        """Locked by the one process that may write the log."""
        return self.run / "log.lock"

    @property
    def node(self) -> Path:
        """What this machine's share of a deployment is called in records: a name made at the first start."""
        return self.run / "node"

    @property
    def metrics(self) -> Path:
        """Directory of the processes' metric snapshots."""
        return self.run / "metrics"


def make_private(directory: Path) -> None:
    """Make a directory that only its owner may enter; LogUnavailable when that is not possible."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise LogUnavailable(f"{directory}: {error.strerror}") from error


def make_private_file(path: Path) -> None:
    """Make an empty file that only its owner may read, unless there is one; LogUnavailable when that fails.

    One that is there is not opened: closing it again would take the locks away that this process has on it through
    other connections. Another process that closes a database last then deletes the write-ahead log which this one
    still writes to, and what it writes is lost (https://sqlite.org/howtocorrupt.html, 2.2).
    """
    make_private(path.parent)
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        if not path.is_file():
            raise OSError(errno.EINVAL, "it is not a file")
    except OSError as error:
        raise LogUnavailable(f"{path}: {error.strerror}") from error


def flush(path: Path) -> None:
    """Have a file, or the names in a directory, written to the disk. Not for a database that this process has open."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
