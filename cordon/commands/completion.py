"""cordon completion: what a shell needs to complete commands, options and values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_CORDON_COMPLETE"
"""By this variable the script asks the program for what fits; click takes the name from the command's."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete `cordon`.

    bash: put `source <(cordon completion bash)` into ~/.bashrc. zsh: the same into ~/.zshrc, after compinit. fish:
    `cordon completion fish > ~/.config/fish/completions/cordon.fish`.
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "cordon", VARIABLE).source())
