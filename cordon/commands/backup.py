"""cordon backup and cordon restore: a verified copy of everything, and its way back."""

from __future__ import annotations

from pathlib import Path

import click

from cordon.backup import make as making
from cordon.backup import restore as restoring
from cordon.backup.make import Progress
from cordon.commands.common import config_option, json_option
from cordon.config import Config
from cordon.output import emit, moment, progress, warned
from lineage.actions import IDENTIFIER
from lineage.place import LogPlace
from lineage.reader import open_reader

_NO_KEYS = (
    "note: the keys are not in it, and without them it cannot be restored: keep a copy of data_dir/keys elsewhere "
    "(--keys DIRECTORY makes one), a new one after each `cordon tenant erase`"
)
_KEYS = "note: {} opens everything that is sealed in the backup: keep the two apart, and nobody with both"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--keys", type=click.Path(path_type=Path), help="Copy the keys too, into this other directory.")
@config_option
@json_option
def backup(config: Config, directory: Path, keys: Path | None, as_json: bool) -> None:
    """Make a backup of everything at DIRECTORY, which is not there yet. Cordon may run meanwhile.

    It holds the log, the state (accounts and alerts; no sessions, no one-time links) and what lies beside the log
    (sealed inputs, tokens), as files or as a dump of PostgreSQL, and a manifest that the log's key signs. It counts
    once it was verified; before, it is not there. Without --keys the keys are not copied.
    """
    size = sum(path.stat().st_size for path in making.databases(config).values() if path.exists())
    with (
        progress("Copying", size, as_json) as copying,
        progress("Verifying", _records(config), as_json) as verifying,
    ):
        made = making.make(config, directory, keys, Progress(copying.update, verifying.update))
    text = f"Backed up {made.records} records, the state and what lies beside the log to {made.directory}, verified."
    emit(made.as_dict(), text, as_json)
    click.echo(warned(_KEYS.format(made.keys) if made.keys else _NO_KEYS), err=True)


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--keys", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Where the copy of the keys is."
)
@click.option(
    "--since", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A checkpoint held outside."
)
@click.option(
    "--erased", multiple=True, metavar="TENANT", help="Erased after the backup and the keys; may be repeated."
)
@config_option
@json_option
def restore(
    config: Config, directory: Path, keys: Path | None, since: Path | None, erased: tuple[str, ...], as_json: bool
) -> None:
    """Restore the backup at DIRECTORY into the installation that FILE describes. Cordon must be stopped.

    Everything is verified before it is put in place: the manifest's signature, each file, the log. Nothing that is
    there is overwritten. Tenants that were erased since are erased again. Against --since it tells how many records of
    that checkpoint the backup lacks.
    """
    for name in erased:
        if not IDENTIFIER.fullmatch(name):
            raise click.UsageError(f"--erased {name!r}: that is no tenant's id")
    size = sum(path.stat().st_size for path in directory.iterdir() if path.is_file())
    asked = restoring.Asked(directory, keys, since.read_bytes() if since else None, erased)
    with progress("Copying", size, as_json) as copying:
        done = restoring.restore(config, asked, Progress(copying.update))
    again = f" Erased again: {', '.join(done.erased)}." if done.erased else ""
    text = f"Restored {done.records} records and the rest, as of {moment(done.made_at)}, verified.{again}"
    emit(done.as_dict(), text, as_json)
    for note in _notes(done):
        click.echo(warned(f"note: {note}"), err=True)


def _notes(done: restoring.Restored) -> list[str]:
    since = (
        "what was recorded after the backup is gone: keys that were revoked since then are valid again, revoke them; "
        "accounts are as they were then, disable those that were disabled since; nobody is signed in"
    )
    if done.lacks is None:
        return [since, "give a checkpoint held outside (--since), and it tells what the backup lacks"]
    if not done.lacks:
        return ["the log holds all that the given checkpoint covers", since]
    return [
        f"the log lacks {done.lacks} records that the given checkpoint covers, from index {done.records} on; from here "
        "on it goes another way than that checkpoint, and `cordon log verify --since` will say so: tell who holds it",
        since,
    ]


def _records(config: Config) -> int:
    if not LogPlace(config.data_dir, config.database).exists():
        return 0
    with open_reader(config.data_dir, config.database) as reader:
        return reader.size()
