"""cordon key: the keys of callers, and of readers of the log."""

from __future__ import annotations

import click

from cordon.acting import actor, stamp
from cordon.commands.common import Duration, config_option, json_option, the_log, write
from cordon.config import Config
from cordon.output import emit, moment, table
from lineage import actions


@click.group()
def key() -> None:
    """API keys of callers, and of readers of the log."""


@key.command()
@click.argument("name")
@click.option("--tenant", required=True, help="Tenant that the key acts for.")
@click.option("--role", "roles", multiple=True, help="Role that policy can ask for; may be repeated.")
@click.option("--reader", is_flag=True, help="A token for the log's read API instead of a caller's key.")
@click.option(
    "--expires", "lifetime", type=Duration(), help="Lifetime, such as 90d; without it the key does not expire."
)
@config_option
@json_option
def create(
    config: Config, name: str, tenant: str, roles: tuple[str, ...], reader: bool, lifetime: int | None, as_json: bool
) -> None:
    """Create a key and print it, this one time.

    NAME says who calls, such as ci-bot. Calls with the key are those of the principal TENANT/NAME.
    """
    known = [item.id for item in config.tenants]
    if tenant not in known:
        raise click.UsageError(f"there is no tenant {tenant}; configured are: {', '.join(known) or 'none'}")
    now = stamp()
    text, record = actions.create_key(
        now,
        name=name,
        tenant=tenant,
        roles=roles,
        by=actor(),
        kind="reader" if reader else "caller",
        expires=now.at + lifetime * 1000 if lifetime else None,
    )
    with the_log(config) as log:
        if tenant in log.control.erased:
            raise click.UsageError(f"{tenant} was erased, and its id cannot be used again; give the tenant another one")
        index = write(log, record)
    value = {"key": text, "id": record["key"], "principal": f"{tenant}/{name}", "index": index}
    emit(value, text, as_json)
    if not as_json:
        click.echo(f"{record['key']} for {tenant}/{name}. The key is shown this once and kept nowhere.", err=True)


@key.command("list")
@click.option("--tenant", help="Only the keys of this tenant.")
@config_option
@json_option
def list_keys(config: Config, tenant: str | None, as_json: bool) -> None:
    """List the keys that are in force. The keys themselves are kept nowhere."""
    with the_log(config) as log:
        keys = sorted(log.control.keys.values(), key=lambda item: (item.tenant, item.name, item.id))
    rows = [item for item in keys if tenant in {None, item.tenant}]
    now = stamp().at
    emit(
        [
            {
                "id": item.id,
                "tenant": item.tenant,
                "name": item.name,
                "kind": item.kind,
                "roles": item.roles,
                "expires": item.expires,
                "expired": item.expires is not None and item.expires <= now,
            }
            for item in rows
        ],
        table(
            ("ID", "PRINCIPAL", "KIND", "ROLES", "EXPIRES"),
            [
                (item.id, f"{item.tenant}/{item.name}", item.kind, item.roles, _expiry(item.expires, now))
                for item in rows
            ],
            "There are no keys; `cordon key create NAME --tenant TENANT` makes one.",
        ),
        as_json,
    )


@key.command()
@click.argument("which", metavar="ID|TENANT/NAME")
@config_option
@json_option
def revoke(config: Config, which: str, as_json: bool) -> None:
    """Revoke a key by its ID, or all keys of a principal: the next call with one is refused, on every worker."""
    with the_log(config) as log:
        keys = log.control.keys.values()
        known = [item.id for item in keys]
        ids = [item.id for item in keys if f"{item.tenant}/{item.name}" == which] or [which]
        indexes = [write(log, actions.revoke_key(stamp(), key=one, by=actor(), known=known)) for one in ids]
    text = "\n".join(f"Revoked {one} (record {index})." for one, index in zip(ids, indexes, strict=True))
    emit([{"id": one, "index": index} for one, index in zip(ids, indexes, strict=True)], text, as_json)


def _expiry(expires: int | None, now: int) -> str:
    if expires is None:
        return "never"
    return f"{moment(expires)} (has expired)" if expires <= now else moment(expires)
