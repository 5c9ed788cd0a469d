"""cordon policy check: would a bundle be served, and what in it cannot be meant."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import click

from cordon.bundles import read_bundle
from cordon.commands.common import (
    bundle_argument,
    bundle_settings,
    file_option,
    for_opa_alone,
    json_option,
    tell_engine,
)
from cordon.output import bad, emit, good, printable, warned
from policies.admission import Admission, admit_now
from policies.authoring.examining import examine
from policies.errors import BundleError, Problem
from policies.settings import BundlePlace, Policy

_SEVERITIES: Final = ("error", "warning", "note")


@click.command()
@bundle_argument
@click.option("--strict", is_flag=True, help="Let warnings fail the check too.")
@file_option
@json_option
def check(bundle: BundlePlace | None, strict: bool, file: Path, as_json: bool) -> int:
    """Examine BUNDLE: would a worker serve it, does it read input that can never be there, which rules are idle.

    It says too which decisions are remembered, and for others, at which place what keeps them from it.
    The exit code is 1 when there is an error, with --strict also when there is a warning.
    """
    settings = bundle_settings(bundle, file)
    tell_engine(settings, as_json)
    problems, admission = _examined(settings)
    revision = admission.bundle.revision if admission and admission.bundle else None
    if revision is None and (alone := for_opa_alone(settings, problems)):
        problems.append(replace(alone, severity="note"))
    counts = Counter(problem.severity for problem in problems)
    failed = revision is None or bool(counts["error"]) or (strict and bool(counts["warning"]))
    value = {
        "bundle": str(settings.bundle),
        "engine": "embedded",
        "admitted": revision is not None,
        "failed": failed,
        "revision": revision,
        "problems": [asdict(problem) for problem in problems],
        "cost_ms": dict(admission.costs) if admission else {},
        "remembered": _remembered(admission),
    }
    lines = [_line(problem) for problem in problems]
    told = ", ".join(_counted(severity, counts[severity]) for severity in _SEVERITIES if counts[severity])
    if revision is None:
        lines.append(bad(f"{settings.bundle} is refused") + f": {told}")
    else:
        lines.append(good(f"{settings.bundle} is admitted") + f" as revision {revision}")
        assert admission is not None
        lines += [_told(admission, rule) for rule in admission.costs]
        if told:
            lines.append((bad if failed else warned)(told))
    emit(value, "\n".join(lines), as_json)
    return 1 if failed else 0


def _examined(settings: Policy) -> tuple[list[Problem], Admission | None]:
    try:
        bundle = read_bundle(settings)
    except BundleError as error:
        return list(error.problems), None
    admission = admit_now(bundle, settings)
    return examine(bundle, admission, settings), admission


def _remembered(admission: Admission | None) -> dict[str, object]:
    """By rule: None where its decisions are remembered, otherwise the place and the reason."""
    if admission is None:
        return {}
    return {rule: asdict(why) if (why := admission.uncached.get(rule)) else None for rule in admission.costs}


def _told(admission: Admission, rule: str) -> str:
    cost = f"  {rule}: {admission.costs[rule]:.3f} ms a decision at most"
    why = admission.uncached.get(rule)
    return f"{cost}, remembered" if why is None else f"{cost}, not remembered: {printable(why)} [{why.code}]"


def _line(problem: Problem) -> str:
    text = printable(f"{problem} [{problem.code}]")
    return text if problem.severity == "error" else warned(f"{problem.severity}: {text}")


def _counted(name: str, count: int) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
