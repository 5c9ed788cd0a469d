"""cordon tenant: which tenants there are, and erasing one for good."""

from __future__ import annotations

from contextlib import closing

import click

from cordon.acting import actor, stamp
from cordon.commands.common import config_option, json_option, the_log, write
from cordon.config import Config
from cordon.output import emit, moment, progress, table, warned
from lineage import actions
from lineage.bundles import BundleStore
from lineage.control import ControlState
from lineage.erasure import destroy, has_traces, remember
from lineage.local import Log
from lineage.side import SideStore
from lineage.side_place import SidePlace


@click.group()
def tenant() -> None:
    """The tenants: which there are, and erasing one."""


@tenant.command("list")
@config_option
@json_option
def list_tenants(config: Config, as_json: bool) -> None:
    """List the tenants: configured ones, ones that only keys name, and erased ones."""
    with the_log(config) as log:
        control = log.control
    value = _states(config, control)
    rows = [
        (item["tenant"], item["state"], item["keys"], moment(item["erased_at"]), item["erased_by"]) for item in value
    ]
    empty = "There are no tenants; put one under `tenants` into the configuration."
    emit(value, table(("TENANT", "STATE", "KEYS", "ERASED", "BY"), rows, empty), as_json)


@tenant.command()
@click.argument("name", metavar="TENANT")
@click.option("--yes", is_flag=True, help="Do not ask; for scripts.")
@config_option
@json_option
def erase(config: Config, name: str, yes: bool, as_json: bool) -> None:
    """Erase TENANT for good: nobody can undo it.

    Destroys the tenant's key, so that nothing that was sealed with it can be read again, in any copy without the master
    key of then; revokes its API keys; deletes its tokens, its policy inputs and its own policy bundles. Every worker
    refuses its calls from then on and cuts live ones. The log keeps its records, which hold facts and keyed digests.
    Run it again where it broke off, or where a bundle was proposed in the ten minutes before.
    """
    with the_log(config) as log, closing(_place(config).side()) as side:
        if not has_traces(name, log.control, side, [item.id for item in config.tenants]):
            raise click.UsageError(f"there is no tenant {name}, and never was one with a key; see `cordon tenant list`")
        if not yes:
            _confirm(name)
        keys = [key.id for key in log.control.keys.values() if key.tenant == name]
        index = None
        if name not in log.control.erased:
            index = write(log, actions.erase_tenant(stamp(), tenant=name, by=actor()))
        remember(config.data_dir, {name: log.control.erased[name].at})
        side.erase_key(name)
        blobs, tokens = _destroy(config, log, name, side, as_json)
        BundleStore(side).tidy({each.digest for each in log.control.rollouts.values()})
    value = {"tenant": name, "index": index, "keys": keys, "blobs": blobs, "tokens": tokens}
    again = "" if index is not None else " It was erased before; what was left is gone now."
    text = (
        f"Erased {name}: its key is destroyed, {len(keys)} API keys revoked, {blobs} blobs and {tokens} tokens deleted."
    )
    emit(value, text + again, as_json)
    if any(item.id == name for item in config.tenants):
        click.echo(
            warned(f"note: take {name} out of `tenants` in the configuration; the id cannot be used again"), err=True
        )
    click.echo(warned("note: copy data_dir/keys/erased to where the keys' copy is kept"), err=True)


def _place(config: Config) -> SidePlace:
    return SidePlace(config.data_dir, config.database)


def _confirm(name: str) -> None:
    text = f"This cannot be undone. Type the tenant's id ({name}) to erase it"
    if click.prompt(text, err=True, default="", show_default=False) != name:
        raise click.ClickException("that is not its id; nothing was erased")


def _destroy(config: Config, log: Log, name: str, side: SideStore, as_json: bool) -> tuple[int, int]:
    with (
        closing(_place(config).tokens(most=config.gateway.tokens.per_principal)) as tokens,
        progress("Deleting", log.reader.size(), as_json) as bar,
    ):
        gone = destroy(name, side, tokens, log.reader, bar.update)
    return gone.blobs, gone.tokens


def _states(config: Config, control: ControlState) -> list[dict[str, object]]:
    configured = [item.id for item in config.tenants]
    names = {*configured, *control.erased, *(key.tenant for key in control.keys.values())}
    found: list[dict[str, object]] = []
    for name in sorted(names):
        erased = control.erased.get(name)
        found.append(
            {
                "tenant": name,
                "state": "erased" if erased else "configured" if name in configured else "not configured",
                "configured": name in configured,
                "keys": sum(key.tenant == name for key in control.keys.values()),
                "erased_at": erased.at if erased else None,
                "erased_by": erased.by if erased else None,
            }
        )
    return found
