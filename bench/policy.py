"""What the decision cache is worth, and how fast recorded calls are decided anew; writes bench/POLICY.md.

Usage: python -m bench.policy [--calls 20000] [--recorded 50000] [--bundle FOLDER] [--no-write]
Times are processor time of one process, so that other work on the machine counts little; the load is told all the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.policy_mixes import MIXES, Mix, played
from bench.policy_replay import Replayed, record, replayed
from bench.systems import ROOT
from lineage.metrics import Meter
from policies.admission import Admission, admit_now
from policies.bundle import Bundle, load_bundle
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import BundleError
from policies.settings import Policy

RESULTS = ROOT / "bench/POLICY.md"
EVALUATED = 4_000
"""Decisions that are timed without the cache, at most: each is like any other."""


@dataclass(frozen=True, slots=True)
class Row:
    """One moment of one mix: decisions, the share that was remembered, microseconds with and without the cache."""

    moment: Moment
    decisions: int
    hits: float
    remembering: float
    evaluating: float


def measure(mix: Mix, admission: Admission, settings: Policy, calls: int) -> list[Row]:
    """Decide the calls of a mix with the cache and without."""
    assert admission.bundle is not None
    meter = Meter("bench")
    kept = EmbeddedEngine(admission.bundle, settings, admission.reads, admission.uncached, meter)
    fresh = EmbeddedEngine(admission.bundle, settings, admission.reads)
    asked: dict[Moment, list[bytes]] = {}
    for call in played(mix, kept, calls):
        for moment, document in call.documents:
            asked.setdefault(moment, []).append(document)
    rows = []
    for moment, documents in asked.items():
        seconds = _timed(kept, moment, documents) / len(documents)
        some = documents[:EVALUATED]
        alone = _timed(fresh, moment, some) / len(some)
        hits = meter.counter("cordon_policy_cache_hits_total", moment.value).value
        rows.append(Row(moment, len(documents), hits / len(documents), seconds * 1e6, alone * 1e6))
    return rows


def _timed(engine: EmbeddedEngine, moment: Moment, documents: Sequence[bytes]) -> float:
    began = time.process_time()
    for document in documents:
        engine.decide_now(moment, document)
    return time.process_time() - began


def report(found: Sequence[tuple[Mix, Sequence[Row]]], again: Sequence[Replayed], where: str) -> str:
    """The figures as Markdown."""
    lines = [
        "# Policy",
        "",
        f"{where} Written by `python -m bench.policy`; docs/benchmarks.md says what is measured.",
        "",
        "## The decision cache",
        "",
        "| calls | moment | decisions | remembered | µs a decision | µs without | saved |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for mix, rows in found:
        for row in rows:
            saved = 1 - row.remembering / row.evaluating
            lines.append(
                f"| {mix.name} | {row.moment.value} | {row.decisions:,} | {row.hits:.1%} | {row.remembering:.1f} "
                f"| {row.evaluating:.1f} | {saved:.0%} |"
            )
    lines += [
        "",
        "## Replay",
        "",
        "`cordon policy replay` over a recorded log in SQLite, one process: reading records and inputs, decrypting,",
        "deciding and comparing. Aim: 15,000 decisions a second of one core.",
        "",
        "| recorded calls | calls | decisions | unlike inputs | CPU s | decisions/s a core | met |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for one in again:
        met = "yes" if one.rate >= 15_000 else "**no**"
        figures = (f"{one.calls:,}", f"{one.decisions:,}", f"{one.inputs:,}", f"{one.seconds:.2f}", f"{one.rate:,.0f}")
        lines.append(f"| {one.name} | {' | '.join(figures)} | {met} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Where it was measured, and how busy the machine was with other things."""
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores of {model}, Python "
        f"{platform.python_version()}; processor time of one process. Load average before: {os.getloadavg()[0]:.1f}."
    )


def admitted(folder: Path) -> tuple[Bundle, Admission, Policy]:
    """The bundle to measure."""
    settings = Policy(bundle=folder)
    bundle = load_bundle(folder)
    admission = admit_now(bundle, settings)
    if admission.bundle is None:
        raise BundleError(admission.errors)
    return bundle, admission, settings


def main() -> None:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench.policy", description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000, help="calls of each mix")
    parser.add_argument("--recorded", type=int, default=50_000, help="calls in the log that is replayed")
    parser.add_argument("--bundle", type=Path, default=ROOT / "policies/bundles/starter")
    parser.add_argument("--no-write", action="store_true", help="print only, leave bench/POLICY.md as it is")
    options = parser.parse_args()
    _, admission, settings = admitted(options.bundle)
    where = machine()
    found = [(mix, measure(mix, admission, settings, options.calls)) for mix in MIXES]
    again = []
    for mix in (MIXES[1], MIXES[3]):
        with tempfile.TemporaryDirectory(prefix="cordon-bench-") as name:
            record(Path(name), mix, admission, settings, options.recorded)
            again.append(replayed(Path(name), mix.name, options.bundle))
    text = report(found, again, f"{where} Load average after: {os.getloadavg()[0]:.1f}.")
    print(text)
    if not options.no_write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
