"""cordon policy: the group of its commands, and `eval`, which tries a decision."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import IO

import click
import orjson

from cordon.asked_server import evaluate_by_server
from cordon.bundles import read_bundle
from cordon.commands.common import bundle_argument, bundle_settings, embedded, file_option, json_option, tell_engine
from cordon.commands.explain import explain_command
from cordon.commands.policy_bench import bench
from cordon.commands.policy_check import check
from cordon.commands.policy_sign import sign, verify
from cordon.commands.policy_test import test
from cordon.commands.replay import replay
from cordon.commands.rollout import COMMANDS
from cordon.output import bad, emit, good, printable
from policies.engine import Moment
from policies.settings import BundlePlace
from policies.testing import evaluate as evaluate_document


@click.group()
def policy() -> None:
    """The Rego bundle that decides. BUNDLE is a folder, a .tar.gz or its URL; without it, it is the configured one."""


policy.add_command(explain_command)
policy.add_command(replay)
policy.add_command(check)
policy.add_command(test)
policy.add_command(bench)
for command in COMMANDS:
    policy.add_command(command)
policy.add_command(sign)
policy.add_command(verify)


@policy.command("eval")
@bundle_argument
@click.option(
    "-i", "--input", "document", type=click.File("rb"), required=True, help="JSON of `input`; - reads it from stdin."
)
@click.option(
    "--moment", type=click.Choice([moment.value for moment in Moment]), default=Moment.REQUEST.value, show_default=True,
    help="When the decision is asked for.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["embedded", "opa"]), default="embedded", show_default=True,
    help="Who decides: the embedded engine, by BUNDLE, or the configured OPA server, by the bundle that it holds.",
)  # fmt: skip
@file_option
@json_option
def evaluate(
    bundle: BundlePlace | None, document: IO[bytes], moment: str, engine: str, file: Path, as_json: bool
) -> int:
    """Decide once on a document, as a worker would; the exit code is 1 for a denial.

    With policy.engine: opa, workers ask the OPA server, and --engine opa does the same.
    """
    settings = bundle_settings(bundle, file)
    if engine == "opa":
        if bundle is not None:
            raise click.UsageError("the OPA server decides by the bundle that it holds: name none with --engine opa")
        if settings.engine != "opa":
            raise click.UsageError("no OPA server is configured (policy.engine is embedded)")
        found = evaluate_by_server(settings, document.read(), Moment(moment))
    else:
        tell_engine(settings, as_json)
        with embedded(settings):
            found = evaluate_document(read_bundle(settings), document.read(), Moment(moment), settings)
    decision = found.decision
    facts = {field.name: getattr(decision, field.name) for field in fields(decision)}
    lines = [good("allow") if decision.allow else bad("deny")]
    lines += [f"  {printable(f'{reason.rule}: {reason.detail} {reason.fix}')}" for reason in decision.reasons]
    told = {name: value for name, value in facts.items() if name not in {"allow", "reasons"} and value}
    lines += [f"  {name}: {printable(value)}" for name, value in told.items()]
    lines.append(f"  {found.rule} of revision {found.revision}, {found.milliseconds:.3f} ms")
    value = {
        "engine": engine,
        "decision": facts,
        "rule": found.rule,
        "result": orjson.Fragment(found.result),
        "revision": found.revision,
        "milliseconds": found.milliseconds,
    }
    emit(value, "\n".join(lines), as_json)
    return 0 if decision.allow else 1
