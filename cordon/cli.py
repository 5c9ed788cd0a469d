"""The command line: which commands there are, and how errors are told.

Exit codes: 0 done; 1 a check failed or something could not be done; 2 the command was misused. An error is one line
that says what is wrong, where, and what to do, with a code that `cordon errors` explains; CORDON_DEBUG=1 adds the
traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from cordon.output import bad, json_text

# In the order of the help. Each is imported when it is asked for, so that it starts quickly.
COMMANDS: Final = {
    "up": "cordon.commands.up:up",
    "demo": "cordon.commands.demo:demo",
    "gateway": "cordon.commands.up:gateway",
    "soc": "cordon.commands.up:soc",
    "key": "cordon.commands.key:key",
    "tenant": "cordon.commands.tenant:tenant",
    "account": "cordon.commands.account:account",
    "policy": "cordon.commands.policy:policy",
    "log": "cordon.commands.log:log",
    "backup": "cordon.commands.backup:backup",
    "restore": "cordon.commands.backup:restore",
    "contain": "cordon.commands.contain:contain",
    "release": "cordon.commands.contain:release",
    "doctor": "cordon.commands.doctor:doctor",
    "errors": "cordon.commands.errors:errors",
    "config": "cordon.commands.settings:settings",
    "completion": "cordon.commands.completion:completion",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cordon-gateway", prog_name="cordon")
def cordon() -> None:
    """Cordon, a zero-trust policy gateway: every call is identified, decided, redacted and recorded."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    as_json = "--json" in arguments
    try:
        result = cordon.main(list(arguments), prog_name="cordon", standalone_mode=False)
    except click.UsageError as error:
        _tell(error.format_message(), as_json, "usage", error.ctx)
        return 2
    except click.ClickException as error:
        _tell(error.format_message(), as_json)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from cordon.failures import UNEXPECTED, failure, told

        if os.environ.get("CORDON_DEBUG"):
            traceback.print_exc()
        kind = failure(error)
        text = f"unexpected {type(error).__name__} (CORDON_DEBUG=1 shows where): {error}"
        _tell(text if kind is UNEXPECTED else told(error), as_json, kind.code)
        return 1
    return result if isinstance(result, int) else 0


def _tell(text: str, as_json: bool, code: str = "", context: click.Context | None = None) -> None:
    if as_json:
        click.echo(json_text({"error": text} | ({"code": code} if code else {})), err=True)
        return
    click.echo(f"{bad('error:')} {text}" + (f" [{code}]" if code and context is None else ""), err=True)
    if context is not None:
        click.echo(f"Try '{context.command_path} --help'.", err=True)


if __name__ == "__main__":
    main()
