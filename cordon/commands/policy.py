"""cordon policy: examine a bundle, run its tests, try a decision."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import IO

import click
import orjson

from cordon.commands.common import file_option, json_option
from cordon.commands.explain import explain_command
from cordon.commands.replay import replay
from cordon.config import load
from cordon.output import bad, emit, good, printable, warned
from policies.admission import admit_now
from policies.bundle import load_bundle
from policies.engine import Moment
from policies.errors import BundleError
from policies.settings import Policy
from policies.testing import evaluate as evaluate_document
from policies.testing import run_tests

bundle_argument = click.argument(
    "bundle", type=click.Path(file_okay=False, exists=True, path_type=Path), required=False
)


@click.group()
def policy() -> None:
    """The Rego bundle that decides. BUNDLE is a folder; without it, the configured one is meant."""


policy.add_command(explain_command)
policy.add_command(replay)


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


@policy.command("test")
@bundle_argument
@click.option("-k", "pattern", default="", help="Only tests whose name has this in it.")
@file_option
@json_option
def run(bundle: Path | None, pattern: str, file: Path, as_json: bool) -> int:
    """Run the tests of BUNDLE: the rules named test_…, as `opa test` does; the exit code is 1 when one fails."""
    results = run_tests(_settings(bundle, file).bundle, pattern)
    wrong = [result for result in results if result.outcome in {"failed", "error"}]
    passed = sum(result.outcome == "passed" for result in results)
    lines = [f"{bad(one.outcome)}  {one.file}:{one.line}: {one.name}: {printable(one.detail)}" for one in wrong]
    lines.append(f"{passed} passed, {len(wrong)} failed, {len(results) - passed - len(wrong)} skipped")
    if not results:
        lines = [bad("there are no tests" + (f" with {pattern} in their name" if pattern else ""))]
    emit({"tests": [asdict(result) for result in results], "failed": len(wrong)}, "\n".join(lines), as_json)
    return 1 if wrong or not results else 0


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
    found = evaluate_document(settings.bundle, document.read(), Moment(moment), settings)
    decision = found.decision
    facts = {field.name: getattr(decision, field.name) for field in fields(decision)}
    lines = [good("allow") if decision.allow else bad("deny")]
    lines += [f"  {printable(f'{reason.rule}: {reason.detail} {reason.fix}')}" for reason in decision.reasons]
    told = {name: value for name, value in facts.items() if name not in {"allow", "reasons"} and value}
    lines += [f"  {name}: {printable(value)}" for name, value in told.items()]
    lines.append(f"  {found.rule} of revision {found.revision}, {found.milliseconds:.3f} ms")
    value = {
        "decision": facts,
        "rule": found.rule,
        "result": orjson.Fragment(found.result),
        "revision": found.revision,
        "milliseconds": found.milliseconds,
    }
    emit(value, "\n".join(lines), as_json)
    return 0 if decision.allow else 1


def _settings(bundle: Path | None, file: Path) -> Policy:
    """The configured settings, of another bundle where one is named; the defaults where there is no configuration."""
    if bundle is not None and not file.exists():
        return Policy(bundle=bundle)
    settings = load(file).policy
    return settings.model_copy(update={"bundle": bundle}) if bundle is not None else settings
