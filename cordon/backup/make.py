"""Makes a backup: a copy of every database as of a moment while Cordon runs, verified before it counts.

The order makes the copy hold together. The state first: no follower's place lies beyond the log that is copied after
it. What lies beside the log last: what a copied record names was written by then, apart from the blobs of the last
moment, which are waited for.

Sessions and one-time links are left out: those that end or are used after the copy would be good again with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cordon.backup import dump
from cordon.backup.files import appearing, check_database, copy_database, copy_keys, empty_tables
from cordon.backup.manifest import File, Manifest
from cordon.config import Config
from cordon.errors import BackupError
from lineage.errors import VerificationError
from lineage.keys import load_log_keys
from lineage.note import Verifier
from lineage.paths import Paths
from lineage.place import LogPlace, is_postgres
from lineage.reader import LogReader, open_reader
from lineage.record import decode
from lineage.side import SideStore
from lineage.side_place import SidePlace
from lineage.sqlite_side import SqliteSide
from lineage.sqlite_store import SqliteSource
from lineage.state_upgrade import SCHEMA
from lineage.verify import verify
from siem.console.tables import OF_THE_MOMENT

STATE: Final = "cordon.db"
LOG: Final = "cordon-log.db"
SIDE: Final = "cordon-side.db"
_RECENT: Final = 2_000
"""Records whose blobs may still be on their way to the disk."""
_PATIENCE: Final = 2.0
"""Longest time in s that they are waited for. A blob may be lost for good, as in a power cut."""


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that counts."""

    directory: str
    keys: str
    records: int
    checkpoint: str
    files: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """The same as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Progress:
    """Told how many more bytes were copied, and how many more records verified."""

    copied: Callable[[int], object] = lambda _bytes: None
    verified: Callable[[int], object] = lambda _records: None


def databases(config: Config) -> dict[str, Path]:
    """The SQLite files of an installation, by the name that they have in a backup, in the order of copying."""
    paths = Paths(config.data_dir)
    named = {STATE: config.state_path, LOG: paths.log, SIDE: paths.side}
    return {} if is_postgres(config.database) else named


def make(config: Config, target: Path, keys: Path | None, progress: Progress) -> Made:
    """Make a backup at `target`, and of the keys at `keys` where that is given.

    Raises BackupError, LogUnavailable (a full disk), VerificationError where the log does not add up; then nothing is
    left at either place.
    """
    if not LogPlace(config.data_dir, config.database).exists():
        raise BackupError("there is no log to back up yet; `cordon up` makes it")
    signer = load_log_keys(config.data_dir, config.lineage.origin, create=False).signer
    if keys is not None and (
        keys.absolute().is_relative_to(target.absolute()) or target.absolute().is_relative_to(keys.absolute())
    ):
        raise BackupError("the keys must not lie in the backup: whoever has both reads everything")
    with ExitStack() as stack:
        work = stack.enter_context(appearing(target))
        if keys is not None:
            copy_keys(Paths(config.data_dir).keys, stack.enter_context(appearing(keys)))
        made_at = time.time_ns() // 1_000_000
        _copy(config, work, progress)
        records, checkpoint = _verify(config, work, signer.verifier, progress)
        names = sorted(path for path in work.iterdir())
        manifest = Manifest(
            version=version("cordon-gateway"),
            made_at=made_at,
            store="postgresql" if is_postgres(config.database) else "sqlite",
            origin=signer.verifier.name,
            records=records,
            checkpoint=checkpoint,
            files=tuple(File.of(path) for path in names),
        )
        manifest.write(work, signer)
    return Made(str(target), str(keys or ""), records, checkpoint, tuple(file.name for file in manifest.files))


def _copy(config: Config, work: Path, progress: Progress) -> None:
    for name, path in databases(config).items():
        if name == SIDE:
            _await_blobs(config)
        if path.exists():
            copy_database(path, work / name, progress.copied)
            if name == STATE:
                empty_tables(work / name, OF_THE_MOMENT)
    if is_postgres(config.database):
        _await_blobs(config)
        dump.dump(config.database, work / dump.FILE, [f"{SCHEMA}.{table.name}" for table in OF_THE_MOMENT])


def _await_blobs(config: Config) -> None:
    """Blobs are written a moment after the records that name them: wait for those of the log's end."""
    place = SidePlace(config.data_dir, config.database)
    if not place.exists():
        return
    with open_reader(config.data_dir, config.database) as reader:
        rows = reader.read(max(0, reader.size() - _RECENT), _RECENT)
    named = {str(record["side"]) for record in (decode(data) for _, data in rows) if record.get("side")}
    deadline = time.monotonic() + _PATIENCE
    with closing(place.side()) as store:
        while time.monotonic() < deadline and any(store.load(digest) is None for digest in named):
            time.sleep(0.05)


def _verify(config: Config, work: Path, key: Verifier, progress: Progress) -> tuple[int, str]:
    """Check every copy; return how many records the log has, and its latest checkpoint.

    What is on PostgreSQL is verified where it is; its copy is, when it is restored.
    """
    for path in work.glob("*.db"):
        check_database(path)
    with ExitStack() as stack:
        copied = work / LOG
        reader = LogReader(SqliteSource(copied)) if copied.exists() else open_reader(config.data_dir, config.database)
        stack.enter_context(reader)
        place = SidePlace(config.data_dir, config.database)
        side: SideStore | None = None
        if place.remote and place.exists():
            side = stack.enter_context(closing(place.side()))
        elif (work / SIDE).exists():
            side = stack.enter_context(closing(SqliteSide(work / SIDE)))
        return verified(reader, key, None, side, progress)


def verified(
    reader: LogReader, key: Verifier, since: bytes | None, side: SideStore | None, progress: Progress
) -> tuple[int, str]:
    """Verify a log; return how many records it has and its latest checkpoint. VerificationError."""
    report = verify(reader, [key], since, side, progress.verified)
    if report.wrong:
        faults = "; ".join(fault for check in report.checks for fault in check.findings[:1])
        raise VerificationError(f"the log does not add up; see `cordon log verify`: {faults}")
    return report.size, (reader.checkpoint() or b"").decode()
