"""cordon config: the configuration file."""

from __future__ import annotations

from pathlib import Path

import click

from cordon.commands.common import DEFAULT_FILE, json_option
from cordon.config import load, missing_credentials
from cordon.errors import ConfigError
from cordon.output import bad, good, json_text, warned


@click.group("config")
def settings() -> None:
    """The configuration file."""


@settings.command()
@click.argument("file", type=click.Path(path_type=Path), default=DEFAULT_FILE)
@json_option
@click.pass_context
def check(context: click.Context, file: Path, as_json: bool) -> None:
    """Check FILE (cordon.yaml where none is named) without starting anything."""
    try:
        config = load(file)
    except ConfigError as error:
        if as_json:
            rows = [{"line": item.line, "key": item.key, "problem": item.text} for item in error.problems]
            click.echo(json_text({"file": str(file), "valid": False, "problems": rows}))
        else:
            click.echo(str(error))
            click.echo(bad(f"{len(error.problems)} problem{'s' if len(error.problems) > 1 else ''}"))
        context.exit(1)
    warnings = [f"endpoint {endpoint.id}: {why}" for endpoint, why in missing_credentials(config)]
    if as_json:
        click.echo(json_text({"file": str(file), "valid": True, "warnings": warnings}))
        return
    for warning in warnings:
        click.echo(warned(f"warning: {warning}; Cordon does not start without it"))
    click.echo(good(f"{file} is in order") + f": {len(config.routes)} routes, {len(config.tenants)} tenants")
