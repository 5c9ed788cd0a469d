"""Measures Cordon beside others on one machine, interleaved, and writes the figures to bench/RESULTS.md.

Everything runs on the same processors: load generator, upstream and the system measured. So absolute figures hold for
that machine at that time; what can be compared are the ratios.
Usage: python -m bench [--seconds 5] [--repeat 3] [--connections 1,16,64] [--workers 2] [--no-write]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench.full import Everything, commit_milliseconds
from bench.load import Measure, first_byte, median, run
from bench.systems import ROOT, Direct, Nginx, PlainProxy, System, Upstream

RESULTS = ROOT / "bench/RESULTS.md"
YARDSTICK = Nginx.name
LOADS = {
    "whole answers (about 600 bytes)": "/v1/chat/completions",
    "server-sent events (20 events a stream)": "/stream/chat/completions",
}

Key = tuple[str, int, str]


def measure(
    systems: Sequence[System], connections: Sequence[int], seconds: int, repeat: int
) -> tuple[dict[Key, Measure], dict[str, float]]:
    """Medians by load, connections and system; and the time to a stream's first byte by system."""
    runs: dict[Key, list[Measure]] = {}
    for round_number in range(1, repeat + 1):
        for load, path in LOADS.items():
            for count in connections:
                for system in systems:
                    told = f"round {round_number}/{repeat}: {load}, {count} connections, {system.name}"
                    print(f"{told:100}", end="\r", file=sys.stderr, flush=True)
                    runs.setdefault((load, count, system.name), []).append(run(system, path, count, seconds))
    print(" " * 100, end="\r", file=sys.stderr)
    first = {system.name: first_byte(system, "/stream/chat/completions") for system in systems}
    return {key: median(measures) for key, measures in runs.items()}, first


def report(systems: Sequence[System], results: dict[Key, Measure], first: dict[str, float]) -> str:
    """The figures as Markdown tables, with ratios to the yardstick."""
    lines: list[str] = []
    for load in LOADS:
        lines += [f"## {load[0].upper()}{load[1:]}", ""]
        lines += [
            "| connections | system | calls/s | × nginx | p50 ms | p99 ms | CPU µs a call | memory MB | failed |",
            "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for count in sorted({key[1] for key in results}):
            base = results[load, count, YARDSTICK]
            for system in systems:
                one = results[load, count, system.name]
                lines.append(
                    f"| {count} | {system.name} | {one.rate:,.0f} | {one.rate / base.rate:.2f} | {one.p50:.2f} "
                    f"| {one.p99:.2f} | {one.cpu:.0f} | {one.memory:.0f} | {one.failed:.0f} |"
                )
        lines.append("")
    lines += ["## First byte of a stream", "", "| system | ms | × nginx |", "|---|---:|---:|"]
    for name, milliseconds in first.items():
        lines.append(f"| {name} | {milliseconds:.2f} | {milliseconds / first[YARDSTICK]:.2f} |")
    return "\n".join(lines)


def against_aims(results: dict[Key, Measure], counts: Sequence[int], commit: float) -> str:
    """What was aimed at beside what was reached, in whole answers."""
    load, most, one = next(iter(LOADS)), max(counts), min(counts)
    nginx, plain, full = (results[load, most, name] for name in (YARDSTICK, PlainProxy.name, Everything.name))
    added = results[load, one, Everything.name].p50 - results[load, one, Direct.name].p50
    allowed = 2 * commit + 0.4
    rows = [
        (f"plain, {most} connections", "≥ 0.80 × nginx", f"{plain.rate / nginx.rate:.2f} × nginx"),
        (f"everything on, {most} connections", "≥ 0.24 × nginx", f"{full.rate / nginx.rate:.2f} × nginx"),
        (
            f"everything on, {one} connection: added p50",
            f"≤ 2 × commit ({commit:.2f} ms) + 0.4 = {allowed:.2f} ms",
            f"{added:.2f} ms",
        ),
    ]
    lines = ["| what | aim | reached |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def machine(workers: int, seconds: int, repeat: int) -> str:
    """Where and how it was measured, and how busy the machine was with other things before."""
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    nginx = (
        subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr.strip().rpartition("/")[2]
    )
    return (
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores of {model}, "
        f"Linux {platform.release()}, Python {platform.python_version()}, nginx {nginx}. "
        f"Load average before: {os.getloadavg()[0]:.1f}. Each system has {workers} workers; medians of {repeat} "
        f"interleaved runs of {seconds} s; request body 996 bytes. Load generator and upstream share the processors."
    )


def main() -> None:
    """Run everything and print and write the report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-write", action="store_true", help="print only, leave bench/RESULTS.md as it is")
    options = parser.parse_args()
    missing = [program for program in ("wrk", "nginx") if shutil.which(program) is None]
    if missing:
        raise SystemExit(
            f"the measurement needs {' and '.join(missing)}; on Debian: apt-get install {' '.join(missing)}"
        )
    where = machine(options.workers, options.seconds, options.repeat)
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as name, ExitStack() as stack:
        Path(name).chmod(0o755)
        upstream = Upstream(Path(name), options.workers)
        systems: list[System] = [kind(Path(name), options.workers) for kind in (Direct, Nginx, PlainProxy, Everything)]
        for system in (upstream, *systems):
            stack.callback(system.stop)
            system.start(upstream.port)
        counts = [int(count) for count in options.connections.split(",")]
        results, first = measure(systems, counts, options.seconds, options.repeat)
        aims = against_aims(results, counts, commit_milliseconds(Path(name)))
        text = f"# Speed\n\n{where}\n\n{aims}\n\n{report(systems, results, first)}\n"
    print(text)
    if not options.no_write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
