"""cordon policy propose, approve, stage, back, withdraw, bundles and diff: how a bundle gets to decide calls."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from cordon.acting import actor, stamp
from cordon.bundles import about, read_bundle
from cordon.commands.common import config_option, json_option, the_log, write
from cordon.config import Config
from cordon.output import bad, emit, good, moment, printable, table
from lineage import actions
from lineage.bundles import BundleStore
from lineage.control import ControlState
from lineage.local import Log
from lineage.rollouts import STAGES, WHOLE, Rollout, compared_with, live, ordered, took_effect
from lineage.side_place import SidePlace
from policies.bundle import Bundle, read_all
from policies.differences import differences
from policies.proposal import examine
from policies.proposal import propose as propose_bundle
from policies.shadow_counts import Counts, shadow_counts
from policies.stored import stored_bundle
from policies.tarball import pack

_PLACE: Final = click.Path(exists=True, path_type=Path)
CONFIGURED: Final = "configured"
"""What `diff` calls the bundle of the configuration."""


class Share(click.ParamType[int]):
    """A part of all calls, such as 5% or 0.5%, in thousandths."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the text; a misuse of the command where it is no such part."""
        match = re.fullmatch(r"([0-9]{1,3})(?:\.([0-9]))?%", str(value))
        share = int(match[1]) * 10 + int(match[2] or 0) if match else 0
        if not 1 <= share <= WHOLE:
            self.fail(f"{value!r} is no part of the calls; write 5% or 0.5%, at most 100%", param, ctx)
        return share


def store_of(config: Config) -> closing[Any]:
    """The side tables, to be closed; `BundleStore` reads them."""
    return closing(SidePlace(config.data_dir, config.database).side())


@click.command()
@click.argument("bundle", type=_PLACE)
@click.option("--tenant", default="", help="For this tenant alone, beside the common bundle: both must allow.")
@click.option("--note", default="", help="What it changes, in a few words; it is recorded.")
@config_option
@json_option
def propose(config: Config, bundle: Path, tenant: str, note: str, as_json: bool) -> int:
    """Propose BUNDLE, a folder or a .tar.gz, as a draft; it has to pass admission and its own tests."""
    if tenant and tenant not in {each.id for each in config.tenants}:
        raise click.UsageError(f"the configuration has no tenant {tenant}")
    archive = bundle.read_bytes() if bundle.is_file() else pack(read_all(bundle))
    found = examine(archive, config.policy)
    with the_log(config) as log, store_of(config) as side:
        made = propose_bundle(
            found, BundleStore(side), stamp(), lambda: log.control, lambda record: write(log, record),
            by=actor(), scope=tenant, note=note,
        )  # fmt: skip
    facts = {"digest": found.digest, "revision": found.revision, "tests": found.tests}
    text = good(f"{made.rollout} is a draft") + f" of revision {found.revision}, {found.tests} tests passed."
    text += f"\nTry it beside the live one: cordon policy stage {made.rollout} shadow"
    emit({"rollout": made.rollout, **facts, "index": made.index}, text, as_json)
    return 0


@click.command()
@click.argument("rollout")
@config_option
@json_option
def approve(config: Config, rollout: str, as_json: bool) -> None:
    """Approve a roll-out that somebody else proposed, so that it may decide calls."""
    with the_log(config) as log:
        digest = log.control.rollouts[rollout].digest if rollout in log.control.rollouts else "none"
        record = actions.approve_bundle(stamp(), log.control, rollout=rollout, digest=digest, by=actor())
        index = _recorded(log, record)
    emit({"rollout": rollout, "by": actor(), "index": index}, f"{rollout} is approved by {actor()}.", as_json)


@click.command()
@click.argument("rollout")
@click.argument("stage", type=click.Choice(STAGES))
@click.option("--share", type=Share(), default=None, help="Canary: this part of the calls, such as 5%.")
@click.option("--tenants", default="", metavar="A,B", help="Canary: the calls of these tenants.")
@config_option
@json_option
def stage(config: Config, rollout: str, stage: str, share: int | None, tenants: str, as_json: bool) -> None:
    """Bring a roll-out to a stage: shadow tries it, canary lets it decide some calls, live lets it decide all.

    To draft takes it out of use again.
    """
    chosen = _chosen(config, tenants)
    if stage != "canary" and (share or chosen):
        raise click.UsageError("--share and --tenants are for a canary")
    base = read_bundle(config.policy).revision if stage == "live" else ""
    with the_log(config) as log:
        facts: dict[str, Any] = {"rollout": rollout, "stage": stage, "share": share or 0, "tenants": chosen}
        index = _recorded(log, actions.stage_bundle(stamp(), log.control, by=actor(), base=base, **facts))
    emit(facts | {"index": index}, f"{rollout} is in {stage}." if stage != "live" else f"{rollout} is live.", as_json)


@click.command()
@click.option("--tenant", default="", help="The tenant's own bundle, instead of the common one.")
@config_option
@json_option
def back(config: Config, tenant: str, as_json: bool) -> None:
    """Go back from the live roll-out to the one before, or to the configured bundle."""
    with the_log(config) as log:
        now = live(log.control.rollouts, tenant)
        if now is None:
            raise click.ClickException("no roll-out is live, so the configured bundle decides already")
        record = actions.stage_bundle(stamp(), log.control, rollout=now.id, stage="draft", by=actor())
        index = _recorded(log, record)
    then = now.previous or ("no bundle of its own" if tenant else "the configured bundle")
    value = {"from": now.id, "to": now.previous, "index": index}
    emit(value, f"{now.id} is a draft again; {then} decides from now on.", as_json)


@click.command()
@click.argument("rollout")
@click.option("--reason", default="not needed any more", show_default=True, help="Why; it is recorded.")
@config_option
@json_option
def withdraw(config: Config, rollout: str, reason: str, as_json: bool) -> None:
    """Take a roll-out away, and its bundle with it."""
    with the_log(config) as log:
        record = actions.withdraw_bundle(stamp(), log.control, rollout=rollout, by=actor(), reason=reason)
        index = _recorded(log, record)
    emit({"rollout": rollout, "index": index}, f"{rollout} is withdrawn.", as_json)


@click.command()
@config_option
@json_option
def bundles(config: Config, as_json: bool) -> None:
    """List the roll-outs: stage, author, approval, and what the shadow would have decided otherwise."""
    with the_log(config) as log:
        rows = ordered(log.control.rollouts)
        counts = shadow_counts(log.reader, rows)
    value = [asdict(each) | {"shadow": counts.get(each.id, Counts()).facts()} for each in rows]
    shown = [
        (
            each.id, each.scope or "all", _stage(each), each.revision, each.author, each.approved_by or "–",
            moment(each.since), str(counts[each.id]) if each.id in counts else "", printable(each.note),
        )
        for each in rows
    ]  # fmt: skip
    head = ("ID", "TENANT", "STAGE", "REVISION", "AUTHOR", "APPROVED BY", "SINCE", "SHADOW", "NOTE")
    emit(value, table(head, shown, "No bundle is rolled out; the configured one decides."), as_json)


@click.command()
@click.argument("before")
@click.argument("after", required=False)
@config_option
@json_option
def diff(config: Config, before: str, after: str | None, as_json: bool) -> int:
    """Show what is different between two bundles: ids of roll-outs, paths, or `configured`.

    With one ID, against what decides now where that roll-out would; the exit code is 1 where they differ.
    """
    with the_log(config) as log, store_of(config) as side:
        names = (before, after) if after else (_against(log.control, before), before)
        old, new = (_bundle(config, log.control, BundleStore(side), name) for name in names)
    found = differences(old, new)
    lines = []
    for each in found:
        lines.append(f"{each.kind} {printable(each.file)}")
        lines += [_coloured(printable(line)) for line in each.lines]
    value = {"before": names[0], "after": names[1], "files": [asdict(each) for each in found]}
    emit(value, "\n".join(lines) or f"{names[0]} and {names[1]} are the same.", as_json)
    return int(bool(found))


def _recorded(log: Log, record: actions.Record) -> int:
    """Append a record and return its index; an error where somebody else was quicker, and it has no effect."""
    index = write(log, record)
    if not took_effect(log.control.rollouts, record):
        raise click.ClickException("somebody else moved it at the same moment; see 'cordon policy bundles'")
    return index


def _chosen(config: Config, tenants: str) -> Collection[str]:
    chosen = sorted({each.strip() for each in tenants.split(",") if each.strip()})
    unknown = sorted(set(chosen) - {each.id for each in config.tenants})
    if unknown:
        raise click.UsageError(f"the configuration has no tenant {', '.join(unknown)}")
    return chosen


def _against(state: ControlState, name: str) -> str:
    """What decides where a roll-out would."""
    rollout = state.rollouts.get(name)
    before = compared_with(state.rollouts, rollout) if rollout else None
    if rollout and rollout.scope and before is None:
        raise click.UsageError(f"tenant {rollout.scope} has no bundle of its own to compare with; name another")
    return before.id if before else CONFIGURED


def _bundle(config: Config, state: ControlState, store: BundleStore, name: str) -> Bundle:
    """The bundle that is meant by a name on the command line."""
    if name == CONFIGURED:
        return read_bundle(config.policy)
    rollout = state.rollouts.get(name)
    if rollout is None:
        place = Path(name)
        if not place.exists():
            raise click.UsageError(f"{name} is neither a roll-out nor a path; 'cordon policy bundles' lists roll-outs")
        return read_bundle(about(config.policy, place))
    return stored_bundle(store.get, rollout)


def _stage(rollout: Rollout) -> str:
    if rollout.stage != "canary":
        return rollout.stage
    return f"canary {', '.join(rollout.tenants) or f'{rollout.share / 10:g}%'}"


def _coloured(line: str) -> str:
    return good(line) if line.startswith("+") else bad(line) if line.startswith("-") else line


COMMANDS: Final = (propose, approve, stage, back, withdraw, bundles, diff)
