"""The order of the demonstration."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from cordon.demo import evidence, scenes, thief
from cordon.demo.clients import Refused
from cordon.demo.screen import Screen
from cordon.demo.stage import Keys, Stage, stage

SCENES: Final[tuple[Callable[[Stage, Screen, Keys], None], ...]] = (
    scenes.allowed,
    scenes.streamed,
    scenes.masked,
    scenes.residency,
    scenes.blocked,
    scenes.connector,
    thief.stolen_key,
)
EVIDENCE: Final[tuple[Callable[[Stage, Screen], None], ...]] = (
    evidence.show_records,
    evidence.show_proof,
    evidence.show_verification,
)


def play(directory: Path) -> int:
    """Play all of it on a new Cordon in `directory`; 0 when everything went as told, otherwise 1."""
    screen = Screen()
    began = time.monotonic()
    screen.title(
        "Cordon, a demonstration",
        "A gateway with two workers, its SOC and a stand-in for the vendors start on this machine. Nothing leaves it.",
    )
    with stage(directory) as running:
        screen.paragraph(f"They are up after {time.monotonic() - began:.0f} s: the gateway at {running.url}.")
        keys = running.keys()
        for scene in SCENES:
            try:
                scene(running, screen, keys)
            except (Refused, OSError) as error:
                screen.check(False, f"the scene is played to its end; {type(error).__name__}: {error}")
        for show in EVIDENCE:
            show(running, screen)
        file = running.file
    click.echo()
    if screen.failures:
        click.secho(f"  {len(screen.failures)} things did not go as told:", fg="red", bold=True)
        for failure in screen.failures:
            click.echo(f"  - {failure}")
        return 1
    click.secho("  Everything went as told.", fg="green", bold=True)
    screen.paragraph(f"The log stays for you to look at: cordon log show -c {_short(file)}")
    click.echo()
    return 0


def _short(file: Path) -> Path:
    """The file as one would type it from here."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
