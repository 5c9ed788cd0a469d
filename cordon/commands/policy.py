"""cordon policy: examine a bundle, run its tests, try a decision."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO

import click

from cordon.commands.common import file_option, json_option
from cordon.config import load
from cordon.output import bad, emit, good, warned
from policies.admission import admit_now
from policies.bundle import load_bundle
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import BundleError
from policies.settings import Policy

bundle_argument = click.argument(
    "bundle", type=click.Path(file_okay=False, exists=True, path_type=Path), required=False
)


@click.group()
def policy() -> None:
    """The Rego bundle that decides. BUNDLE is a folder; without it, the configured one is meant."""


@policy.command()
@bundle_argument
@file_option
@json_option
def check(bundle: Path | None, file: Path, as_json: bool) -> int:
    """Examine BUNDLE as a worker does before it serves it: would it be admitted, and what does a decision cost."""
    settings = _settings(bundle, file)
    try:
        admission = admit_now(load_bundle(settings.bundle), settings)
        problems, revision, costs = admission.problems, admission.bundle and admission.bundle.revision, admission.costs
    except BundleError as error:
        problems, revision, costs = error.problems, None, {}
    value = {
        "bundle": str(settings.bundle),
        "admitted": revision is not None,
        "revision": revision,
        "problems": [asdict(problem) for problem in problems],
        "cost_ms": dict(costs),
    }
    lines = [str(problem) if problem.severity == "error" else warned(f"note: {problem}") for problem in problems]
    if revision is None:
        lines.append(bad(f"{settings.bundle} is refused"))
    else:
        lines.append(good(f"{settings.bundle} is admitted") + f" as revision {revision}")
        lines += [f"  {rule}: {milliseconds:.3f} ms a decision at most" for rule, milliseconds in costs.items()]
    emit(value, "\n".join(lines), as_json)
    return 0 if revision is not None else 1


@policy.command("eval")
@bundle_argument
@click.option(
    "-i", "--input", "document", type=click.File("rb"), required=True, help="JSON of `input`; - reads it from stdin."
)
@click.option(
    "--moment", type=click.Choice([moment.value for moment in Moment]), default=Moment.REQUEST.value, show_default=True,
    help="When the decision is asked for.",
)  # fmt: skip
@file_option
@json_option
def evaluate(bundle: Path | None, document: IO[bytes], moment: str, file: Path, as_json: bool) -> int:
    """Decide once on a document, as a worker would; the exit code is 1 for a denial."""
    settings = _settings(bundle, file)
    admission = admit_now(load_bundle(settings.bundle), settings)
    if admission.bundle is None:
        raise BundleError(admission.errors)
    engine = EmbeddedEngine(admission.bundle, settings, admission.reads)
    decision = asyncio.run(engine.decide(Moment(moment), document.read()))  # type: ignore[call-overload]
    facts = {field.name: getattr(decision, field.name) for field in fields(decision)}
    lines = [good("allow") if decision.allow else bad("deny")]
    lines += [
        f"  {reason.rule}: {reason.detail}" + (f" {reason.fix}" if reason.fix else "") for reason in decision.reasons
    ]
    lines += [f"  {name}: {value}" for name, value in facts.items() if name not in {"allow", "reasons"} and value]
    emit(facts, "\n".join(lines), as_json)
    return 0 if decision.allow else 1


def _settings(bundle: Path | None, file: Path) -> Policy:
    """The configured settings, of another bundle where one is named; the defaults where there is no configuration."""
    if bundle is not None and not file.exists():
        return Policy(bundle=bundle)
    settings = load(file).policy
    return settings.model_copy(update={"bundle": bundle}) if bundle is not None else settings
