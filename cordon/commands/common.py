"""What the commands share: the options -c and --json, the configuration, the log, durations."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem
from pydantic import ValidationError

from cordon.bundles import about
from cordon.config import Config, load
from cordon.output import warned
from lineage.local import Log, open_log
from lineage.paths import make_private
from lineage.record import encode
from policies.errors import BundleError, Problem
from policies.rego.builtins import OPA_SERVER
from policies.settings import BundlePlace, Policy

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_FILE: Final = Path("cordon.yaml")
_ASK_OPA: Final = (
    "`opa check` says whether it takes it, `opa test` runs its tests, and `cordon policy eval --engine opa` asks the "
    "server, once Cordon has put the bundle there"
)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[int]):
    """A time such as 90s, 15m, 2h or 30d, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the text; a misuse of the command where it is no duration."""
        match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration; write 90s, 15m, 2h or 30d", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


class Before(click.ParamType[int]):
    """A moment of the past, as an age or as a date (UTC), in ms since the epoch."""

    name = "age or date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the text; a misuse of the command where it is neither."""
        text = str(value)
        with suppress(ValueError):
            return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
        if re.fullmatch(r"[1-9][0-9]{0,8}[smhd]", text) is None:
            self.fail(f"{value!r} is neither an age, such as 400d, nor a date, such as 2026-01-31", param, ctx)
        return time.time_ns() // 1_000_000 - Duration().convert(text, param, ctx) * 1000


class Settings(click.ParamType[Config]):
    """The path of a configuration file, read and checked."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Config:
        """Read the file; ConfigError where it cannot be used."""
        return load(Path(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete it as a path."""
        return [CompletionItem(incomplete, type="file")]


def config_option(command: Command) -> Command:
    """Give a command `config`, the configuration from -c FILE."""
    return click.option(
        "-c", "--config", type=Settings(), default=str(DEFAULT_FILE), envvar="CORDON_CONFIG", show_default=True,
        metavar="FILE", help="Configuration file.",
    )(command)  # fmt: skip


def file_option(command: Command) -> Command:
    """Give a command `file`, the path from -c FILE, not read yet."""
    return click.option(
        "-c",
        "--config",
        "file",
        type=click.Path(path_type=Path),
        default=DEFAULT_FILE,
        envvar="CORDON_CONFIG",
        show_default=True,
        metavar="FILE",
        help="Configuration file.",
    )(command)


class Bundle(click.ParamType[BundlePlace]):
    """A folder, a .tar.gz or the URL of one."""

    name = "bundle"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> BundlePlace:
        """A URL as it is, or a path that is there; a misuse of the command where it is neither."""
        if str(value).startswith(("http://", "https://")):
            try:
                return Policy(bundle=str(value)).bundle
            except ValidationError as error:
                self.fail(error.errors()[0]["msg"].removeprefix("Value error, "), param, ctx)
        path: Path = click.Path(exists=True, path_type=Path).convert(value, param, ctx)
        return path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete it as a path."""
        return [CompletionItem(incomplete, type="file")]


def bundle_argument(command: Command) -> Command:
    """Give a command `bundle`, a folder, an archive or a URL, or None for the configured one."""
    return click.argument("bundle", type=Bundle(), required=False)(command)


def bundle_settings(bundle: BundlePlace | None, file: Path) -> Policy:
    """The configured settings, of another bundle where one is named; the defaults where there is no configuration."""
    if bundle is not None and not file.exists():
        return Policy(bundle=bundle)
    settings = load(file).policy
    return about(settings, bundle) if bundle is not None else settings


def tell_engine(settings: Policy, as_json: bool) -> None:
    """Say on stderr that this command decides by the embedded engine, where an OPA server decides on calls.

    In JSON, the result has the key `engine` for that.
    """
    if settings.engine == "opa" and not as_json:
        text = "note: calls are decided by the OPA server (policy.engine: opa); this is the embedded engine's word, "
        click.echo(warned(text + "which is OPA's or a refusal of the bundle"), err=True)


def for_opa_alone(settings: Policy, problems: Iterable[Problem]) -> Problem | None:
    """That only the configured OPA server can evaluate a bundle with these problems, and what asks it."""
    lacking = next((each for each in problems if OPA_SERVER in each.remedy), None)
    if settings.engine != "opa" or lacking is None:
        return None
    message = f"only the OPA server can evaluate this bundle: {lacking.message}"
    return replace(lacking, code="opa", message=message, remedy=_ASK_OPA)


@contextmanager
def embedded(settings: Policy) -> Iterator[None]:
    """Say in one sentence that the embedded engine cannot do what the OPA server does; BundleError."""
    try:
        yield
    except BundleError as error:
        alone = for_opa_alone(settings, error.problems)
        if alone is None:
            raise
        raise BundleError([alone]) from error


def json_option(command: Command) -> Command:
    """Give a command `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(command)


@contextmanager
def the_log(config: Config) -> Iterator[Log]:
    """The log of this installation: through its writer where Cordon runs, directly where it does not."""
    make_private(config.data_dir)
    with open_log(config.data_dir, config.lineage, config.database) as log:
        yield log


def write(log: Log, record: dict[str, object]) -> int:
    """Append one record and return its index."""
    return log.append(encode(record))
