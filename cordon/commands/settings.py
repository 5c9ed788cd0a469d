"""cordon config: the configuration file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from cordon.advice import advice
from cordon.commands.common import DEFAULT_FILE, json_option
from cordon.config import Config, load, missing_credentials
from cordon.errors import ConfigError, Problem
from cordon.output import bad, good, json_text, warned
from cordon.yaml_file import named, read


@click.group("config")
def settings() -> None:
    """The configuration file."""


@settings.command()
@click.argument("file", type=click.Path(path_type=Path), default=DEFAULT_FILE)
@click.option("--strict", is_flag=True, help="Let a warning be a failure, as in a pipeline.")
@json_option
def check(file: Path, strict: bool, as_json: bool) -> int:
    """Check FILE (cordon.yaml where none is named) without starting anything.

    Problems stop a start; warnings are of settings that are legal and probably not meant. The exit code is 1 where
    there are problems, with --strict also where there are warnings.
    """
    try:
        config = load(file)
    except ConfigError as error:
        if as_json:
            _tell(file, False, error.problems, [])
        else:
            click.echo(str(error))
            click.echo(bad(_count(len(error.problems), "problem")))
        return 1
    warnings = _warnings(file, config)
    if as_json:
        _tell(file, True, (), warnings)
    else:
        for warning in warnings:
            click.echo(f"{warned('warning:')} {warning.at(str(file))}")
        verdict = f": {_count(len(config.routes), 'route')}, {_count(len(config.tenants), 'tenant')}"
        if warnings:
            click.echo(warned(f"{file} can be used, with {_count(len(warnings), 'warning')}") + verdict)
        else:
            click.echo(good(f"{file} is in order") + verdict)
    return 1 if strict and warnings else 0


def _warnings(file: Path, config: Config) -> list[Problem]:
    """What is missing or unwise, in the order of the file."""
    document = read(file)
    found = [
        Problem(document.line(it.place), named(it.place), document.masked(f"{it.text}; {it.remedy}"))
        for it in advice(config)
    ]
    places = {
        endpoint.id: ("routes", index, "endpoints", position, "credential")
        for index, route in enumerate(config.routes)
        for position, endpoint in enumerate(route.endpoints)
    }
    for endpoint, why in missing_credentials(config):
        place = places[endpoint.id]
        text = f"endpoint {endpoint.id}: {why}; Cordon does not start without it"
        found.append(Problem(document.line(place), named(place), text))
    return sorted(found, key=lambda problem: problem.line)


def _tell(file: Path, valid: bool, problems: Sequence[Problem], warnings: Sequence[Problem]) -> None:
    def rows(found: Sequence[Problem]) -> list[dict[str, object]]:
        return [{"line": item.line, "key": item.key, "problem": item.text} for item in found]

    facts = {"file": str(file), "valid": valid, "problems": rows(problems), "warnings": rows(warnings)}
    click.echo(json_text(facts))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
