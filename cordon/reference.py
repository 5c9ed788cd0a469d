"""Writes the generated references: python -m cordon.reference DIRECTORY (`make docs`).

configuration.md and configuration.schema.json from the settings, metrics.md from the table of metrics, commands.md from
the commands' help, refusals.md and errors/CODE.md from the table of refusal codes, problems.md from those of errors and
findings, policy.md from the JSON Schemas of policy's input and result. What stands there is what the program does; a
test says when they have to be written again.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import click
import orjson
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cordon.cli import cordon
from cordon.config import Config
from cordon.explained import GROUPS, REFUSALS
from cordon.policy_reference import policy_reference
from cordon.suggestions import model_in, sections
from gateway.refusal_codes import CODES, STAGES
from gateway.refusal_pages import markdown, refusal_pages
from lineage.metrics import METRICS

GENERATED: Final = "<!-- Written by `make docs`; change the source instead. -->"
NAMES: Final = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}


def pages() -> dict[str, str]:
    """Each generated file's name and text."""
    return {
        "configuration.md": configuration(),
        "configuration.schema.json": schema(),
        "metrics.md": metrics(),
        "commands.md": commands(),
        "refusals.md": refusals(),
        "policy.md": policy_reference(GENERATED),
        "problems.md": problems(),
        **{f"errors/{code}.md": error_page(code) for code in refusal_pages()},
    }


def schema() -> str:
    """The JSON Schema of the configuration file, for editors."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
    document["title"] = "Cordon's configuration"
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


def configuration() -> str:
    """Every setting: where, what it takes, its default, what it means."""
    lines = [
        "# Configuration",
        "",
        GENERATED,
        "",
        "One YAML file, `cordon.yaml` unless `-c` or `CORDON_CONFIG` names another. Unknown and doubled keys are "
        "errors with their line. Relative paths are taken from the file's own directory. `${NAME}` in a text is the "
        "environment variable of that name, and `$${` a plain `${`. Only `true` and `false` are booleans.",
        "",
        "A saved file is taken up by the running Cordon, as on SIGHUP; one with a mistake changes nothing and raises "
        "an alert. `data_dir` and `database` change at a new start only. Check a file with `cordon config check`; "
        "`configuration.schema.json` beside this page gives completion in editors.",
    ]
    for path, model in sections(Config):
        lines += ["", f"## {path or 'Top level'}", "", _first_paragraph(model), ""]
        lines += ["| setting | takes | default | meaning |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            cells = (f"`{name}`", _takes(field.annotation), _default(field), _cell(field.description or ""))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """Every metric: kind, labels, meaning."""
    lines = [
        "# Metrics",
        "",
        GENERATED,
        "",
        "Served at `/metrics` of the control server in Prometheus's text format. Every series has the label `process` "
        "beside the ones named here. Times are seconds.",
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    for name, definition in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in definition.labels) or "-"
        lines.append(f"| `{name}` | {definition.kind} | {labels} | {_cell(definition.help)} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Every command as its own help tells it."""
    lines = [
        "# Commands",
        "",
        GENERATED,
        "",
        "Exit codes: 0 done, 1 a check failed or something could not be done, 2 the command was misused. Most commands "
        "take `--json`.",
    ]
    for path, command in every_command(cordon, "cordon"):
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        lines += ["", f"## {path}", "", "```text", command.get_help(context), "```"]
    return "\n".join(lines) + "\n"


def refusals() -> str:
    """Every code of a refusal, by the stage of the call that it ends: status, meaning, remedy."""
    lines = [
        "# Refusals",
        "",
        GENERATED,
        "",
        "A refused call is answered in `application/problem+json` (RFC 9457): `type` is `urn:cordon:refusal:CODE`, and "
        "`status`, `detail`, `stage`, `reasons` and `call` say the rest; `help` is the address of the code's page on "
        "the control server, `/errors/CODE`, which needs no sign-in. It is told where `control.public_url` "
        "is set, or where gateway and control server both listen on loopback. On a model route the same is told in the "
        "vendor's own error shape, so that its SDK raises its usual exception; OpenAI's has the code as `error.code`, "
        "Anthropic's has the text alone. In the log, `call.refused` has the `stage`, and the code as the `rule` of its "
        "reason where policy gave none of its own.",
    ]
    for stage, about in STAGES.items():
        lines += [
            "",
            f"## {stage}",
            "",
            about.meaning,
            "",
            "| code | status | what it means | what the caller can do |",
            "|---|---|---|---|",
        ]
        for (at, code), known in CODES.items():
            if at == stage:
                statuses = ", ".join(map(str, known.statuses))
                link = f"[`{code}`](errors/{code}.md)"
                lines.append(f"| {link} | {statuses} | {_cell(known.meaning)} | {_cell(known.caller)} |")
    return "\n".join(lines) + "\n"


def problems() -> str:
    """Every code of an error of a command and of a finding about a bundle."""
    lines = [
        "# Errors and findings",
        "",
        GENERATED,
        "",
        "`cordon errors CODE` shows the same. With `--json` an error has its code as `code`. Codes of refused calls "
        "have [pages of their own](refusals.md).",
    ]
    for title, group in GROUPS.items():
        if title != REFUSALS:
            lines += ["", f"## {title}", "", group.about]
            for code, page in group.pages.items():
                lines += ["", f"### `{code}`", "", page]
    return "\n".join(lines) + "\n"


def error_page(code: str) -> str:
    """The page of one refusal code."""
    title, _, rest = markdown(code).partition("\n")
    return f"{title}\n\n{GENERATED} All codes: [refusals](../refusals.md).\n{rest}"


def every_command(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Each command below `command`, itself included, with its full name."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from every_command(inner, f"{path} {name}")


def _first_paragraph(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").partition("\n\n")[0].split())


def _takes(annotation: Any) -> str:
    annotation = _without_none(annotation)
    if get_origin(annotation) is Annotated:
        return _takes(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" if choice != "" else "nothing" for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)[0]
        return f"list of {'sections' if model_in(inner) else _takes(inner) + 's'}"
    if model_in(annotation) is not None:
        return "section"
    return NAMES.get(annotation, str(annotation))


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        return "see there"
    if field.default is None or field.default in ((), ""):
        return "-"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, types.UnionType}:
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(directory: Path) -> None:
    """Write all pages."""
    directory.mkdir(parents=True, exist_ok=True)
    errors = directory / "errors"
    errors.mkdir(exist_ok=True)
    written = pages()
    for name, text in written.items():
        (directory / name).write_text(text, "utf-8")
    for gone in {path for path in errors.iterdir() if f"errors/{path.name}" not in written}:
        gone.unlink()
    print(f"Wrote {len(written)} pages below {directory}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
