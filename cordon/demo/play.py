"""The order of the demonstration."""

from __future__ import annotations

import time
from pathlib import Path

import click

from cordon.demo import evidence, scenes, thief
from cordon.demo.screen import Screen
from cordon.demo.stage import stage


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
        support, ci_bot = running.key("support-bot", "acme"), running.key("ci-bot", "acme")
        analyst = running.key("analyst", "globex")
        scenes.allowed(running, screen, support)
        scenes.streamed(running, screen, support)
        scenes.masked(running, screen, support)
        scenes.residency(running, screen, support, analyst)
        scenes.blocked(running, screen, support)
        scenes.connector(running, screen, support)
        thief.stolen_key(running, screen, ci_bot, "acme/ci-bot")
        evidence.show_records(running, screen)
        evidence.show_proof(running, screen)
        evidence.show_verification(running, screen)
        data_dir = running.config.data_dir
    click.echo()
    if screen.failures:
        click.secho(f"  {len(screen.failures)} things did not go as told:", fg="red", bold=True)
        for failure in screen.failures:
            click.echo(f"  - {failure}")
        return 1
    click.secho("  Everything went as told.", fg="green", bold=True)
    screen.paragraph(f"The log stays for you to look at: cordon log show -c {_short(data_dir.parent / 'cordon.yaml')}")
    click.echo()
    return 0


def _short(file: Path) -> Path:
    """The file as one would type it from here."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
