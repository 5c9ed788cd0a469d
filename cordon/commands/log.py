"""cordon log: read the audit log, prove what is in it, check it, take it elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from cordon.acting import actor, stamp
from cordon.commands.common import Before, config_option, json_option, the_log, write
from cordon.commands.decisions import decisions
from cordon.config import Config
from cordon.output import bad, emit, good, json_text, moment, printable, progress, table
from detectors import alerts, follower
from lineage.actions import prune_log
from lineage.clock import wall
from lineage.export import export_lines, export_tiles
from lineage.keys import load_verifier
from lineage.ledger import writer_lock
from lineage.merkle import leaf_hash
from lineage.move import move_log, set_aside, size_of
from lineage.note import Verifier
from lineage.paths import Paths
from lineage.place import is_postgres
from lineage.proof import prove
from lineage.reader import LogReader, open_reader
from lineage.record import decode
from lineage.side_place import SidePlace
from lineage.state_move import copy_state
from lineage.verify import verify as check_log
from siem.console import tables as accounts

STATE = (
    *(accounts.ACCOUNTS, accounts.INVITATIONS, accounts.SESSIONS, accounts.CHANGES),
    *(alerts.table, follower.places),
)
"""The state's tables that move; whose turn it is on PostgreSQL is known only there."""
SCAN = 1_000
"""Records read at once while looking for those that fit."""


@click.group()
def log() -> None:
    """The audit log: every call and every act, tamper-evident."""


log.add_command(decisions)


@log.command()
@click.argument("index", type=click.IntRange(min=0), required=False)
@click.option("--call", help="All records of one call, by its id (the answer's x-cordon-call).")
@click.option("--kind", help="Only this kind, or all that begin so, such as call.refused or containment.")
@click.option("--principal", help="Only records of this principal (TENANT/NAME).")
@click.option(
    "-n", "--last", type=click.IntRange(1, 100_000), default=20, show_default=True, help="How many, the latest."
)
@config_option
@json_option
def show(
    config: Config,
    index: int | None,
    call: str | None,
    kind: str | None,
    principal: str | None,
    last: int,
    as_json: bool,
) -> None:
    """Show the latest records, or the one at INDEX whole."""
    reader = open_reader(config.data_dir, config.database)
    try:
        if index is not None:
            found = [(position, decode(data)) for position, data in reader.read(index, 1) if position == index]
            if not found:
                raise click.ClickException(_absent(reader, index))
        elif call is not None:
            found = reader.find(call)
        else:
            found = _latest(reader, kind or "", principal, last)
    finally:
        reader.close()
    if as_json:
        click.echo("\n".join(json_text({"index": at, "record": record}, compact=True) for at, record in found))
    elif index is not None or call is not None:
        click.echo("\n".join(_whole(at, record) for at, record in found) or "There are no such records.")
    else:
        rows = [(at, moment(record.get("at")), record.get("kind"), *_gist(record)) for at, record in found]
        click.echo(table(("INDEX", "TIME", "KIND", "WHO", "WHAT"), rows, "There are no such records."))


@log.command()
@click.argument("index", type=click.IntRange(min=0))
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write, instead of printing."
)
@config_option
@json_option
def proof(config: Config, index: int, output: Path | None, as_json: bool) -> None:
    """Print a proof that the record at INDEX is in the log (c2sp.org/tlog-proof).

    With the record's bytes and the log's public key anybody can check it, offline.
    """
    reader = open_reader(config.data_dir, config.database)
    try:
        shown = prove(reader, index)
        record = next((data for at, data in reader.read(index, 1) if at == index), None)
        leaf = reader.leaf(index) if record is None else leaf_hash(record)
    finally:
        reader.close()
    checkpoint = shown.verify_leaf(leaf or b"", [load_verifier(config.data_dir)])
    if output:
        output.write_bytes(shown.dump())
    text = (
        f"Wrote {output}: record {index} is in the log of {checkpoint.size} records."
        if output
        else shown.dump().decode()
    )
    value = {
        "index": index,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "path": [node.hex() for node in shown.path],
        "checkpoint": shown.checkpoint.decode(),
        "record": None if record is None else decode(record),
    }
    emit(value, text.rstrip("\n"), as_json)


@log.command()
@config_option
@json_option
def checkpoint(config: Config, as_json: bool) -> None:
    """Print the latest checkpoint.

    Kept elsewhere, it shows later that nothing was rewritten since (see verify --since).
    """
    reader = open_reader(config.data_dir, config.database)
    try:
        note = reader.checkpoint()
    finally:
        reader.close()
    if note is None:
        raise click.ClickException("the log has no checkpoint yet; there is one within a second of its first record")
    emit({"checkpoint": note.decode()}, note.decode().rstrip("\n"), as_json)


@log.command()
@click.option(
    "--since", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A checkpoint held outside."
)
@click.option(
    "--vkey", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The log's key held outside."
)
@config_option
@json_option
def verify(config: Config, since: Path | None, vkey: Path | None, as_json: bool) -> int:
    """Build the log again from its records and compare everything: tree, checkpoints, tiles, signatures, control state.

    Against --since, a checkpoint that was kept elsewhere, it also shows that nothing was rewritten since then. The exit
    code is 1 when something is wrong.
    """
    key = Verifier.parse(vkey.read_text()) if vkey else load_verifier(config.data_dir)
    reader = open_reader(config.data_dir, config.database)
    place = SidePlace(config.data_dir, config.database)
    side = place.side() if place.exists() else None
    try:
        with progress("Verifying", reader.size(), as_json) as bar:
            report = check_log(reader, [key], since.read_bytes() if since else None, side, bar.update)
    finally:
        reader.close()
        if side is not None:
            side.close()
    verdict = (
        bad(f"{report.wrong} fault{'' if report.wrong == 1 else 's'}")
        if report.wrong
        else good("nothing wrong in what was checked")
    )
    emit(report.as_dict(), "\n".join([*(printable(line) for line in report.lines()), verdict]), as_json)
    return 1 if report.wrong else 0


@log.command()
@click.option("--from", "start", type=click.IntRange(min=0), default=0, help="First index.")
@click.option("--tiles", is_flag=True, help="The whole log as a directory of C2SP tiles, instead of JSON lines.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write (a directory with --tiles).")
@config_option
@json_option
def export(config: Config, start: int, tiles: bool, output: Path | None, as_json: bool) -> None:
    """Write the log out: JSON lines, or with --tiles what any C2SP log client reads."""
    reader = open_reader(config.data_dir, config.database)
    try:
        if tiles:
            if output is None:
                raise click.UsageError("--tiles needs a directory: -o DIRECTORY")
            count = export_tiles(reader, output)
        else:
            count = _lines(reader, start, output)
    finally:
        reader.close()
    if output is not None:
        emit({"records": count, "output": str(output)}, f"Wrote {count} records to {output}.", as_json)


@log.command()
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file of the state, where it was not cordon.db in data_dir.",
)
@config_option
@json_option
def move(config: Config, state: Path | None, as_json: bool) -> None:
    """Bring the log and the state of data_dir over to the PostgreSQL database that FILE names.

    Records, tree, checkpoints and the signing key stay as they are, so checkpoints held outside keep their worth; so do
    accounts, sessions, alerts and the detectors' places. The copy is verified before it counts; a database that has
    other records already is refused. What lies beside the log (tenants' keys, policy inputs, tokens) goes along. The
    files are kept, under other names. A move that was broken off is made up for by the same command.
    """
    from lineage.side_move import blobs_in

    source = Paths(config.data_dir).log
    if not is_postgres(config.database):
        raise click.UsageError("`database` must be postgresql://… in the configuration: the log moves there")
    state = state or config.state_path
    with writer_lock(config.data_dir):
        size = size_of(source)
        # The log is last: as long as it is not moved, the files are what counts.
        rows = copy_state(state, config.database, STATE)
        with (
            progress("Copying", size, as_json) as copying,
            progress("Verifying", size, as_json) as verifying,
            progress("Copying policy inputs", blobs_in(Paths(config.data_dir).side), as_json) as beside,
        ):
            moved = move_log(config.data_dir, config.database, copying.update, verifying.update, beside.update)
        if rows:
            set_aside(state)
    text = (
        f"Moved {moved.records} records and {moved.checkpoints} checkpoints, verified, and {rows} rows of state; "
        f"beside them {moved.blobs} policy inputs, the keys of {moved.tenants} tenants and {moved.tokens} tokens. "
        f"What was the log is now {moved.kept}; keep it until you have a copy of the database."
    )
    emit(moved.as_dict() | {"state_rows": rows}, text, as_json)


@log.command()
@click.option("--before", required=True, type=Before(), help="An age, such as 400d, or a date, such as 2026-01-31.")
@click.option("--reason", default="pruned by hand", show_default=True, help="Why, in a few words; it is recorded.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@config_option
@json_option
def prune(config: Config, before: int, reason: str, dry_run: bool, as_json: bool) -> None:
    """Give up the records before a time. A record says so; their hashes stay, so the log still verifies.

    Records of keys, containments and erased tenants stay. What a checkpoint does not cover yet is not given up. While
    Cordon runs, its log writer deletes them little by little.
    """
    if config.lineage.policy_inputs and before > wall() - int(config.lineage.policy_inputs_days * 86_400_000):
        raise click.UsageError(
            f"policy inputs are kept for {config.lineage.policy_inputs_days:g} days (lineage.policy_inputs_days), and "
            "those of an erased tenant are found by its records: keep records as long"
        )
    with the_log(config) as open_log:
        index = min(open_log.reader.first_since(before), open_log.reader.checkpoint_size())
        state = open_log.control
        going = max(0, index - state.pruned)
        if going and not dry_run:
            write(open_log, prune_log(stamp(), state, before=index, by=actor(), reason=reason))
            if open_log.control.pruned < index:
                raise click.ClickException(
                    "keys or containments changed at that moment, nothing was given up; try again"
                )
    told = "would be given up" if dry_run else "are given up"
    text = f"{going} records below index {index} {told}" if going else "There is nothing to give up."
    emit({"before": index, "records": going, "dry_run": dry_run}, text, as_json)


def _absent(reader: LogReader, index: int) -> str:
    if index < reader.control().pruned:
        return f"record {index} was pruned for its age; `cordon log show --kind log.pruned` says by whom"
    return f"the log has no record {index}; its size is {reader.size()}"


def _lines(reader: LogReader, start: int, output: Path | None) -> int:
    end = reader.size()
    count = 0
    with progress("Writing", end - start, output is None) as bar:
        out = output.open("wb") if output else sys.stdout.buffer
        try:
            for position in range(start, end, SCAN):
                written = export_lines(reader, out, position, min(position + SCAN, end))
                count += written
                bar.update(written)
        finally:
            if output:
                out.close()
            else:
                out.flush()
    return count


def _latest(reader: LogReader, kind: str, principal: str | None, last: int) -> list[tuple[int, dict[str, object]]]:
    """The latest records that fit, the oldest first."""
    found: list[tuple[int, dict[str, object]]] = []
    end = reader.size()
    while end > 0 and len(found) < last:
        start = max(0, end - SCAN)
        for position, data in reversed(reader.read(start, end - start)):
            record = decode(data)
            if str(record.get("kind")).startswith(kind) and principal in {None, _principal(record)}:
                found.append((position, record))
        end = start
    return found[:last][::-1]


def _principal(record: Mapping[str, object]) -> object:
    return record.get("principal") or (record.get("target") if record.get("target_type") == "principal" else None)


def _gist(record: Mapping[str, object]) -> tuple[object, str]:
    """Who a record is about and what it says, in a few words."""
    kind = str(record.get("kind"))
    who = next(
        (record[name] for name in ("principal", "target", "subject", "account", "source") if record.get(name)), "-"
    )
    if kind == "call.intent":
        return who, f"{record.get('method')} {record.get('path')} → {record.get('endpoint')}"
    if kind == "call.outcome":
        return who, f"{record.get('verdict')} {record.get('status')} in {record.get('ms')} ms"
    if kind == "call.refused":
        reasons = record.get("reasons") or [{"code": record.get("reason")}]
        first = reasons[0] if isinstance(reasons, list) else {}
        return who, f"{record.get('stage')}: {first.get('rule') or first.get('code') or ''}"
    if kind.startswith("admin.key"):
        return f"{record.get('tenant')}/{record['name']}" if "name" in record else record.get(
            "key"
        ), f"by {record.get('by')}"
    if kind.startswith("process."):
        return record.get("boot"), str(record.get("role", ""))
    said = ("summary", "reason", "change", "revision", "problems", "containment")
    return who, next((printable(record[name]) for name in said if record.get(name)), "")


def _whole(index: int, record: Mapping[str, object]) -> str:
    lines = "\n".join(printable(line) for line in json_text(record).splitlines())
    return f"{click.style(f'record {index}', bold=True)}  {moment(record.get('at'))}\n{lines}"
