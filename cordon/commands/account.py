"""cordon account: the operators of the control plane, and the one-time links by which they come in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from cordon import addresses, first_run
from cordon.acting import BOOT, actor
from cordon.commands.common import config_option, json_option, the_log
from cordon.config import Config
from cordon.output import emit, moment, table
from lineage.record import encode
from lineage.state import open_state
from siem.console.accounts import Accounts
from siem.console.roles import ROLES


@click.group()
def account() -> None:
    """Operator accounts of the console and the admin API."""


@account.command()
@click.argument("name")
@click.option(
    "--role", "roles", multiple=True, required=True, type=click.Choice(sorted(ROLES)), help="May be repeated."
)
@config_option
@json_option
def invite(config: Config, name: str, roles: tuple[str, ...], as_json: bool) -> None:
    """Print a one-time link by which NAME opens an account."""
    with _accounts(config) as accounts:
        link = _link(config, accounts.invite(name, roles, actor()))
    emit({"account": name, "roles": roles, "link": link}, _shown(config, link), as_json)


@account.command()
@config_option
@json_option
def first(config: Config, as_json: bool) -> None:
    """Print the one-time link that opens the first account, an admin."""
    with the_log(config) as log:
        link = first_run.first_link(config, log, BOOT)
    if not link:
        raise click.ClickException("there is an account already; `cordon account invite NAME --role ROLE` makes more")
    emit({"link": link}, _shown(config, link), as_json)


@account.command()
@click.argument("name")
@config_option
@json_option
def reset(config: Config, name: str, as_json: bool) -> None:
    """Print a one-time link by which NAME chooses a new password."""
    with _accounts(config) as accounts:
        link = _link(config, accounts.reset_link(name, actor()))
    emit({"account": name, "link": link}, _shown(config, link), as_json)


@account.command("list")
@config_option
@json_option
def list_accounts(config: Config, as_json: bool) -> None:
    """List the accounts and the links that can still be used."""
    with _accounts(config) as accounts:
        known, invitations = accounts.all(), accounts.open_invitations()
    value = {
        "accounts": [
            {"name": one.name, "roles": one.roles, "active": one.active, "created_at": one.created_at} for one in known
        ],
        "invitations": [
            {"purpose": one.purpose, "account": one.account, "roles": one.roles, "expires_at": one.expires_at}
            for one in invitations
        ],
    }
    rows = [(one.name, one.roles, "active" if one.active else "disabled", moment(one.created_at)) for one in known]
    rows += [
        (one.account or "(the first)", one.roles, f"{one.purpose} link until {moment(one.expires_at)}", "-")
        for one in invitations
    ]
    emit(value, table(("NAME", "ROLES", "STATE", "SINCE"), rows, "No accounts; `cordon account first`."), as_json)


@account.command()
@click.argument("name")
@config_option
@json_option
def disable(config: Config, name: str, as_json: bool) -> None:
    """Close an account: its sessions end at once."""
    with _accounts(config) as accounts:
        accounts.disable(name, actor())
    emit({"account": name, "active": False}, f"Disabled {name}.", as_json)


@account.command()
@click.argument("name")
@config_option
@json_option
def enable(config: Config, name: str, as_json: bool) -> None:
    """Open a disabled account again."""
    with _accounts(config) as accounts:
        accounts.enable(name, actor())
    emit({"account": name, "active": True}, f"Enabled {name}.", as_json)


@contextmanager
def _accounts(config: Config) -> Iterator[Accounts]:
    with the_log(config) as log:
        state = open_state(config.state_path, config.database)
        try:
            yield Accounts(
                state,
                lambda record: log.append(encode(record)),
                BOOT,
                invitation_seconds=config.control.invitation_hours * 3600,
            )
        finally:
            state.dispose()


def _link(config: Config, token: str) -> str:
    return f"{addresses.console_url(config)}/invitation/{token}"


def _shown(config: Config, link: str) -> str:
    return f"{link}\n\nIt can be used once, within {config.control.invitation_hours:g} hours."
