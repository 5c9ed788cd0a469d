"""cordon policy bench: what a bundle's decisions and rules cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from cordon.bundles import read_bundle
from cordon.commands.common import bundle_argument, bundle_settings, file_option, json_option
from cordon.output import Row, emit, progress, table
from policies.admission import admit_now
from policies.authoring.measuring import MOST_ROUNDS, Cost, Costs, measure, read_inputs, steps
from policies.errors import BundleError
from policies.samples import named
from policies.settings import BundlePlace

_HEADINGS: Final = ("P50", "P90", "P99", "MAX", "INPUT")


@click.command()
@bundle_argument
@click.option(
    "-i", "--input", "place", type=click.Path(exists=True, path_type=Path), default=None,
    help="A JSON or JSON lines file of inputs, or a folder of them; without it, documents of usual size.",
)  # fmt: skip
@click.option(
    "-n", "--rounds", type=click.IntRange(10, MOST_ROUNDS), default=200, show_default=True,
    help="How often each is evaluated.",
)  # fmt: skip
@click.option("--top", type=click.IntRange(1), default=15, show_default=True, help="How many rules to list.")
@file_option
@json_option
def bench(bundle: BundlePlace | None, place: Path | None, rounds: int, top: int, file: Path, as_json: bool) -> int:
    """Measure what decisions of BUNDLE cost, and each rule alone, slowest first; times in microseconds."""
    settings = bundle_settings(bundle, file)
    written = read_bundle(settings)
    admission = admit_now(written, settings)
    if admission.bundle is None:
        raise BundleError(admission.errors)
    inputs = read_inputs(place) if place else named()
    with progress("measuring", steps(written, list(inputs), settings), hidden=as_json) as bar:
        costs = measure(admission.bundle, written, inputs, settings, rounds, bar.update)
    value = asdict(costs) | {"bundle": str(settings.bundle), "revision": admission.bundle.revision, "rounds": rounds}
    emit(value, _told(costs, top), as_json)
    return 0


def _told(costs: Costs, top: int) -> str:
    decisions = table(("DECISION", *_HEADINGS), _rows(costs.decisions), "no input asks for a decision")
    rules = table(("RULE ALONE", *_HEADINGS), _rows(costs.rules[:top]), "no rules")
    reading = table(("", *_HEADINGS), _rows(costs.reading), "")
    return f"{decisions}\n\n{rules}\n\n{reading}"


def _rows(costs: Iterable[Cost]) -> list[Row]:
    rows: list[Row] = []
    for cost in costs:
        if cost.error:
            rows.append((cost.rule, "-", "-", "-", "-", f"{cost.input}: {cost.error}"))
        else:
            times = [f"{value:.1f}" for value in (cost.p50, cost.p90, cost.p99, cost.largest)]
            rows.append((cost.rule, *times, cost.input))
    return rows
