"""cordon demo: play a real session and show what happened."""

from __future__ import annotations

from pathlib import Path

import click

from cordon.demo import play


@click.command()
@click.option(
    "--directory", type=click.Path(path_type=Path, file_okay=False), default=Path("var-demo"), show_default=True,
    help="Where its Cordon keeps its data; what an earlier demo left there is removed.",
)  # fmt: skip
def demo(directory: Path) -> int:
    """Play a session against a Cordon of its own: allowed, masked, refused, blocked, contained, verified."""
    return play(directory)
