"""Restores a backup: everything is checked beside its place and then renamed into it, the log last.

Without its log an installation does not start, so a restoring that breaks off is never taken for one that was done; the
same command finishes it. Tenants that were erased after the backup was made are erased again (`lineage.erasure`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cordon.acting import actor, stamp
from cordon.backup import dump
from cordon.backup.files import appearing, check_database, copy_keys, working
from cordon.backup.make import LOG, SIDE, Progress, databases, verified
from cordon.backup.manifest import File, Manifest
from cordon.config import Config
from cordon.errors import BackupError
from lineage.erasure import catch_up, erased_path, read_erased, remember
from lineage.errors import KeyFileError, LineageError, VerificationError
from lineage.keys import read_master_key, read_private
from lineage.ledger import writer_lock
from lineage.local import open_log
from lineage.note import Signer, Verifier, open_checkpoint
from lineage.paths import Paths, flush
from lineage.place import is_postgres
from lineage.reader import LogReader, open_reader
from lineage.record import encode
from lineage.side import SideStore, TenantKeys
from lineage.side_place import SidePlace
from lineage.sqlite_side import SqliteSide
from lineage.sqlite_store import SqliteSource


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: a log of `records`; `lacks` records that the checkpoint held outside covers are not in it.

    `lacks` is None where no checkpoint was given. `erased`: tenants that the backup had, and have been erased since.
    """

    made_at: int
    records: int
    lacks: int | None
    erased: list[str]

    def as_dict(self) -> dict[str, object]:
        """The same as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Asked:
    """What to restore: the backup, a directory of keys where the installation has none, and what is known besides."""

    source: Path
    keys: Path | None = None
    since: bytes | None = None
    erased: Sequence[str] = ()


def restore(config: Config, asked: Asked, progress: Progress) -> Restored:
    """Restore a backup into an installation that has no data; Cordon must not run on it.

    Raises BackupError, VerificationError, KeyFileError, LogUnavailable or WriterPresent; then nothing was changed.
    """
    paths = Paths(config.data_dir)
    with writer_lock(config.data_dir):
        key = _key(paths.keys, asked.keys)
        manifest = Manifest.read(asked.source, key)
        _check_place(config, manifest)
        lacks, since = _lacking(asked.since, manifest, key)
        with working(paths.data_dir / "restored") as work:
            _fetch(asked.source, manifest, work, progress)
            _check(config, work, asked.keys or paths.keys, key, since, progress)
            _place(config, asked, work, key, since, progress)
    return Restored(manifest.made_at, manifest.records, lacks, _erase_again(config))


def _key(own: Path, given: Path | None) -> Verifier:
    """The log's public key, from the keys of the installation, or those given for it."""
    found = [directory for directory in (own, given) if directory is not None and (directory / "log.key").exists()]
    if given is not None and given not in found:
        raise BackupError(f"{given} has no log.key: it is no directory of keys")
    if not found:
        raise BackupError(f"there are no keys in {own}; give the copy of them: --keys DIRECTORY")
    try:
        signers = [Signer.parse(read_private(directory / "log.key").decode()) for directory in found]
    except (VerificationError, UnicodeDecodeError):
        raise KeyFileError("log.key is not a signing key; take another copy") from None
    if len({str(signer.verifier) for signer in signers}) > 1:
        raise BackupError(f"{own} has the key of another log than {given}; move the one that is not meant away")
    return signers[0].verifier


def _check_place(config: Config, manifest: Manifest) -> None:
    """Nothing may be there that restoring would replace, except what an earlier try has put there itself."""
    if (manifest.store == "postgresql") != is_postgres(config.database):
        raise BackupError(f"the backup is of {manifest.store}, and `database` of the configuration is something else")
    expected = {*databases(config), *([dump.FILE] if manifest.store == "postgresql" else [])}
    names = [file.name for file in manifest.files]
    if not set(names) <= expected or len(set(names)) != len(names):
        raise BackupError(f"the backup holds files that do not belong in it: {', '.join(names)}")
    by_name = {file.name: file for file in manifest.files}
    for name, path in databases(config).items():
        if any(path.with_name(path.name + end).exists() for end in ("", "-wal", "-journal")):
            same = path.exists() and name != LOG and name in by_name and _is(path, by_name[name])
            if not same:
                raise BackupError(f"{path} is there already; move it away, it is not overwritten")
    if is_postgres(config.database) and (there := dump.schemas(config.database)):
        raise BackupError(f"the database has the schema {there[0]} already; name an empty one, it is not overwritten")


def _is(path: Path, file: File) -> bool:
    found = File.of(path)
    return (found.bytes, found.sha256) == (file.bytes, file.sha256)


def _lacking(since: bytes | None, manifest: Manifest, key: Verifier) -> tuple[int | None, bytes | None]:
    """How many records of a checkpoint held outside the backup lacks, and what its log has to go on from."""
    own = manifest.checkpoint.encode() or None
    if since is None:
        return None, own
    size = open_checkpoint(since, [key]).size
    return (size - manifest.records, own) if size > manifest.records else (0, since)


def _fetch(source: Path, manifest: Manifest, work: Path, progress: Progress) -> None:
    """Copy the backup's files beside their place; what is checked is the copy, which nobody else can change."""
    for file in manifest.files:
        path = work / file.name
        try:
            shutil.copyfile(source / file.name, path)
        except FileNotFoundError:
            raise BackupError(f"{source / file.name} is missing; the backup is not whole") from None
        path.chmod(0o600)
        if not _is(path, file):
            raise BackupError(f"{source / file.name} is not what the manifest says: it was cut or changed")
        progress.copied(file.bytes)


def _check(config: Config, work: Path, keys: Path, key: Verifier, since: bytes | None, progress: Progress) -> None:
    for path in work.glob("*.db"):
        check_database(path)
    with ExitStack() as stack:
        side = stack.enter_context(closing(SqliteSide(work / SIDE))) if (work / SIDE).exists() else None
        if (work / LOG).exists():
            reader = stack.enter_context(LogReader(SqliteSource(work / LOG)))
            verified(reader, key, since, side, progress)
        if side is not None:
            _check_master(config, side, keys)


def _check_master(config: Config, side: SideStore, keys: Path) -> None:
    """With another master key the tenants' keys could not be opened, which would be noticed at the first call."""
    tenants = [(tenant.id, side.wrapped_key(tenant.id)) for tenant in config.tenants]
    held = [tenant for tenant, row in tenants if row is not None and row[0] is not None]
    if not held:
        return
    if not (keys / "master.key").exists():
        raise BackupError(f"{keys} has no master.key, without which the tenants' keys cannot be opened")
    opened = TenantKeys(side, read_master_key(keys / "master.key"))
    for tenant in held:
        opened.get(tenant)


def _place(config: Config, asked: Asked, work: Path, key: Verifier, since: bytes | None, progress: Progress) -> None:
    paths = Paths(config.data_dir)
    if not (paths.keys / "log.key").exists():
        assert asked.keys is not None
        with suppress(OSError):
            paths.keys.rmdir()
        with appearing(paths.keys) as made:
            copy_keys(asked.keys, made)
    elif asked.keys is not None:
        remember(config.data_dir, read_erased(asked.keys / erased_path(config.data_dir).name))
    now = stamp().at
    remember(config.data_dir, dict.fromkeys(asked.erased, now))
    if is_postgres(config.database):
        _place_dump(config, work, key, since, progress)
    # The log last: without it nothing starts, and a restore that broke off is gone on with.
    for name, path in sorted(databases(config).items(), key=lambda each: each[0] == LOG):
        if (work / name).exists():
            _put(work / name, path)


def _put(checked: Path, path: Path) -> None:
    """Bring a file to its place, which may be on another disk, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.unfinished")
    shutil.move(checked, beside)
    flush(beside)
    beside.replace(path)
    flush(path.parent)


def _place_dump(config: Config, work: Path, key: Verifier, since: bytes | None, progress: Progress) -> None:
    dump.restore(config.database, work / dump.FILE)
    try:
        with open_reader(config.data_dir, config.database) as reader:
            place = SidePlace(config.data_dir, config.database)
            with ExitStack() as stack:
                side = stack.enter_context(closing(place.side())) if place.exists() else None
                verified(reader, key, since, side, progress)
                if side is not None:
                    _check_master(config, side, Paths(config.data_dir).keys)
    except BaseException:
        dump.drop(config.database)
        raise


def _erase_again(config: Config) -> list[str]:
    """Destroy the keys of tenants that were erased after the backup was made, and tell the restored log."""
    side = SidePlace(config.data_dir, config.database).side
    try:
        with open_log(config.data_dir, config.lineage, config.database) as log:
            lacking = catch_up(config.data_dir, log.control, side, stamp(), actor())
            for record in lacking:
                log.append(encode(record))
    except LineageError as error:
        raise BackupError(
            f"all is restored, but erased tenants are not erased again ({error}); the next start of Cordon does that"
        ) from error
    return [str(record["tenant"]) for record in lacking]
