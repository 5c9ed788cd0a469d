"""cordon up, gateway and soc: run Cordon, whole or in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import click
import structlog

from cordon import first_run, logs
from cordon.acting import BOOT
from cordon.child import Role
from cordon.commands.common import file_option, json_option
from cordon.config import Config, load, missing_credentials
from cordon.errors import SupervisorError
from cordon.first_run import Welcome
from cordon.output import json_text
from cordon.reporting import report_refused
from cordon.supervisor import CONTROL, EVERYTHING, GATEWAY, SOC, STAND_IN, WRITER, Supervisor

log = structlog.get_logger("supervisor")


@click.command()
@click.option(
    "--first-run", "first", is_flag=True, help="Write a starter FILE if there is none; give out the first key."
)
@file_option
@json_option
def up(file: Path, first: bool, as_json: bool) -> int:
    """Run everything: gateway workers, log writer, SOC process and console.

    Ctrl-C or SIGTERM lets calls in flight finish, then stops; SIGHUP reads FILE again, as does saving it.
    """
    if first:
        for path in first_run.write_starter(file):
            click.echo(f"Wrote {path}", err=True)
    config = load(file)

    def greet(supervisor: Supervisor) -> None:
        welcome = first_run.welcome(supervisor.config, BOOT) if first else None
        if as_json:
            click.echo(json_text(_facts(config, welcome), compact=True))
        else:
            click.echo(_greeting(config, file, welcome))

    return _run(config, file, EVERYTHING, greet)


@click.command()
@file_option
def gateway(file: Path) -> int:
    """Run the data plane alone: log writer and gateway workers."""
    return _run(load(file), file, frozenset({WRITER, GATEWAY, STAND_IN}))


@click.command()
@file_option
def soc(file: Path) -> int:
    """Run the SOC alone, beside a running `cordon gateway`: detectors and console."""
    return _run(load(file), file, frozenset({SOC, CONTROL}))


def _run(config: Config, file: Path, roles: frozenset[Role], greet: Callable[[Supervisor], None] | None = None) -> int:
    missing = [f"endpoint {endpoint.id}: {why}" for endpoint, why in missing_credentials(config)]
    if missing and GATEWAY in roles:
        raise SupervisorError("; ".join(missing) + f" (see credential in {file})")
    logs.configure("supervisor", config.log)
    supervisor = Supervisor(config, file, roles=roles, report=report_refused)
    return 0 if asyncio.run(supervisor.run(greet or (lambda _: None))) else 1


def _facts(config: Config, welcome: Welcome | None) -> dict[str, str]:
    facts = {"gateway": first_run.gateway_url(config), "console": first_run.console_url(config)}
    if welcome is not None:
        facts |= {"key": welcome.key, "invitation": welcome.invitation}
    return facts


def _greeting(config: Config, file: Path, welcome: Welcome | None) -> str:
    """What a person sees once everything runs."""
    rows = []
    if welcome is not None and welcome.key:
        rows.append(("Key", f"{welcome.key}  (tenant {welcome.tenant}; shown this once)"))
        rows.append(("Try it", f"in a second terminal:\n\n{first_run.example_call(config, welcome.key)}\n"))
    line = first_run.stand_in_line(file, config)
    if line:
        rows.append(("Own key", f"the answers are canned; {file}:{line} says how to use a vendor's key"))
    if welcome is not None and welcome.invitation:
        hours = f"{config.control.invitation_hours:g}"
        rows.append(("Console", f"{welcome.invitation}  (once, within {hours} h)"))
    else:
        rows.append(("Console", first_run.console_url(config)))
    head = f"Cordon is up: {first_run.gateway_url(config)}. Ctrl-C stops it."
    return "\n".join(
        [
            "",
            click.style(head, bold=True),
            "",
            *(f"  {click.style(name.ljust(8), fg='cyan')}{text}" for name, text in rows),
            "",
        ]
    )
