"""cordon up, gateway and soc: run Cordon, whole or in parts."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from cordon import addresses, first_run, logs
from cordon.acting import BOOT
from cordon.commands.common import file_option, json_option
from cordon.config import Config, load, missing_credentials
from cordon.doctor.storage import writer_runs
from cordon.errors import SupervisorError
from cordon.first_run import Welcome
from cordon.listeners import listeners, taken
from cordon.output import json_text
from cordon.parts import CONTROL, EVERYTHING, GATEWAY, SOC, STAND_IN, WRITER, Role
from cordon.reporting import report_refused
from cordon.supervisor import Supervisor


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
        running = _as_bound(supervisor)
        welcome = first_run.welcome(running, BOOT) if first else None
        click.echo(_json(_facts(running, welcome)) if as_json else _greeting(running, file, welcome))

    return _run(config, file, EVERYTHING, greet)


@click.command()
@file_option
@json_option
def gateway(file: Path, as_json: bool) -> int:
    """Run the data plane alone: log writer and gateway workers."""

    def greet(supervisor: Supervisor) -> None:
        url = addresses.gateway_url(_as_bound(supervisor))
        click.echo(_json({"gateway": url}) if as_json else f"The gateway is up at {url} (Ctrl-C stops it)")

    return _run(load(file), file, frozenset({WRITER, GATEWAY, STAND_IN}), greet)


@click.command()
@file_option
@json_option
def soc(file: Path, as_json: bool) -> int:
    """Run the SOC alone, beside a running `cordon gateway`: detectors and console."""

    def greet(supervisor: Supervisor) -> None:
        url = addresses.console_url(_as_bound(supervisor))
        click.echo(_json({"console": url}) if as_json else f"The SOC is up, its console at {url} (Ctrl-C stops it)")

    return _run(load(file), file, frozenset({SOC, CONTROL}), greet)


def _json(facts: Mapping[str, str]) -> str:
    return json_text(facts, compact=True)


def _run(
    config: Config, file: Path, roles: frozenset[Role], greet: Callable[[Supervisor], None] = lambda _: None
) -> int:
    missing = [f"endpoint {endpoint.id}: {why}" for endpoint, why in missing_credentials(config)]
    if missing and GATEWAY in roles:
        raise SupervisorError("; ".join(missing) + f" (see credential in {file})")
    if not writer_runs(config.data_dir):
        _refuse_taken(config, file)
    logs.configure("supervisor", config.log)
    supervisor = Supervisor(
        config,
        file,
        roles=roles,
        report=report_refused,
        taken_up=lambda changed: logs.configure("supervisor", changed.log),
    )
    return 0 if asyncio.run(supervisor.run(greet)) else 1


def _refuse_taken(config: Config, file: Path) -> None:
    """Say so before anything is started, and by the name of the setting."""
    for name, listen in listeners(config):
        if taken(listen):
            raise SupervisorError(
                f"{listen} cannot be listened at: another program does; change {name}.listen in {file}"
            )


def _as_bound(supervisor: Supervisor) -> Config:
    """The configuration with the ports that were chosen where it asked for any (port 0)."""
    config = supervisor.config
    for name, child in (("gateway", "gateway-0"), ("control", "control-0")):
        section = getattr(config, name)
        host, _, port = section.listen.rpartition(":")
        if port == "0" and supervisor.runs(child):
            bound = section.model_copy(update={"listen": f"{host}:{supervisor.child(child).facts['port']}"})
            config = config.model_copy(update={name: bound})
    return config


def _facts(config: Config, welcome: Welcome | None) -> dict[str, str]:
    facts = {"gateway": addresses.gateway_url(config), "console": addresses.console_url(config)}
    if welcome is not None:
        facts |= {"key": welcome.key, "invitation": welcome.invitation}
    return facts


def _greeting(config: Config, file: Path, welcome: Welcome | None) -> str:
    """What a person sees once everything runs."""
    rows = []
    if welcome is not None and welcome.key:
        rows.append(("Key", f"{welcome.key}  (tenant {welcome.tenant}; shown this once)"))
        rows.append(("Try it", f"in a second terminal:\n\n{first_run.example_call(config, welcome.key)}\n"))
    else:
        rows.append(("Keys", f"{_program()} key create NAME --tenant TENANT"))
    line = first_run.stand_in_line(file, config)
    if line:
        rows.append(("Own key", f"answers are canned; {file}:{line} is the line to change for a vendor's key"))
    if welcome is not None and welcome.invitation:
        rows.append(("Console", f"{welcome.invitation}  (once, within {config.control.invitation_hours:g} h)"))
    else:
        rows.append(("Console", addresses.console_url(config)))
    head = click.style(f"Cordon is up at {addresses.gateway_url(config)} (Ctrl-C stops it)", bold=True)
    return "\n".join(["", head, "", *(f"  {click.style(name.ljust(9), fg='cyan')}{text}" for name, text in rows), ""])


def _program() -> str:
    """How this program is called here."""
    found = shutil.which("cordon")
    if found and Path(found).samefile(sys.argv[0]):
        return "cordon"
    program = Path(sys.argv[0])
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)
