"""cordon contain and cordon release: isolate a principal or an endpoint, and let it go again."""

from __future__ import annotations

import click

from cordon.acting import actor, stamp
from cordon.commands.common import Duration, config_option, json_option, the_log, write
from cordon.config import Config
from cordon.output import emit, moment, table, warned
from lineage import actions


@click.command()
@click.argument("target", required=False)
@click.option("--reason", default="", help="Why, in a few words; it is recorded.")
@click.option("--for", "seconds", type=Duration(), default="15m", show_default=True, help="How long, at most 30d.")
@config_option
@json_option
def contain(config: Config, target: str | None, reason: str, seconds: int, as_json: bool) -> None:
    """Isolate TARGET on every worker at once, or list what is isolated.

    TARGET is a principal as TENANT/NAME or the id of an endpoint. New calls are refused and live streams are cut.
    """
    if target is None:
        _show(config, as_json)
        return
    endpoints = [endpoint.id for route in config.routes for endpoint in route.endpoints]
    if "/" not in target and target not in endpoints:
        raise click.UsageError(
            f"{target} is neither a principal (TENANT/NAME) nor one of the endpoints: {', '.join(endpoints) or 'none'}"
        )
    if not reason:
        raise click.UsageError("--reason is missing: say in a few words why")
    record = actions.apply_containment(
        stamp(),
        target_type="principal" if "/" in target else "endpoint",
        target=target,
        reason=reason,
        owner=actor(),
        seconds=seconds,
    )
    with the_log(config) as log:
        principals = {f"{key.tenant}/{key.name}" for key in log.control.keys.values()}
        index = write(log, record)
    if "/" in target and target not in principals:
        click.echo(warned(f"note: no key in force is {target}'s"), err=True)
    value = {"containment": record["containment"], "target": target, "until": record["until"], "index": index}
    text = f"{target} is isolated until {moment(record['until'])}.\nRelease it: cordon release {record['containment']}"
    emit(value, text, as_json)


@click.command()
@click.argument("containment", metavar="ID|TARGET")
@click.option("--reason", default="released by hand", show_default=True, help="Why, in a few words; it is recorded.")
@config_option
@json_option
def release(config: Config, containment: str, reason: str, as_json: bool) -> None:
    """End a containment by its ID, or all of a TARGET."""
    with the_log(config) as log:
        state = log.control.containments
        ids = [item.id for item in state.values() if containment in {item.id, item.target}] or [containment]
        for one in ids:
            record = actions.release_containment(stamp(), containment=one, by=actor(), reason=reason, known=list(state))
            write(log, record)
    emit({"released": ids}, "\n".join(f"Released {one}." for one in ids), as_json)


def _show(config: Config, as_json: bool) -> None:
    now = stamp().at
    with the_log(config) as log:
        rows = [item for item in log.control.containments.values() if item.until > now]
    emit(
        [
            {
                "containment": item.id, "target_type": item.target_type, "target": item.target, "reason": item.reason,
                "owner": item.owner, "since": item.since, "until": item.until,
            }
            for item in rows
        ],
        table(
            ("ID", "TARGET", "SINCE", "UNTIL", "OWNER", "REASON"),
            [(item.id, item.target, moment(item.since), moment(item.until), item.owner, item.reason) for item in rows],
            "Nothing is isolated.",
        ),
        as_json,
    )  # fmt: skip
