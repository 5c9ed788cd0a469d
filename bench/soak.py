"""Memory of each of Cordon's processes while many calls go through, and whether it stays flat.

Calls go in bursts of some seconds over 64 connections, whole answers and streams by turns; after each burst the
proportional set size of every process is read. The slope is that of a straight line through what was read after the
first fifth of the calls, when caches and pools are still filling.
Usage: python -m bench.soak [--calls 300000] [--minutes 30] [--workers 2] [--limit 2.0]; exits with 1 where a process
is not flat, 2 where too few calls went through to say.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.checks import PATHS, check
from bench.full import Everything
from bench.load import run
from bench.systems import Upstream

CONNECTIONS = 64
BURST_SECONDS = 4
FEWEST = 8
"""Readings below which nothing is said of a slope."""

Reading = tuple[int, dict[str, int]]
"""Calls so far, and bytes by process."""


@dataclass(frozen=True)
class Trend:
    """Memory of one process over the calls: first and last reading in MB, and MB gained per 100,000 calls."""

    process: str
    first: float
    last: float
    slope: float

    def flat(self, limit: float) -> bool:
        """Whether it gains no more than `limit` MB per 100,000 calls."""
        return self.slope <= limit


def trends(readings: Sequence[Reading]) -> list[Trend]:
    """The trend of every process that was there at each reading; ValueError for too few readings."""
    total = readings[-1][0] if readings else 0
    settled = [reading for reading in readings if reading[0] >= total / 5]
    if len(settled) < FEWEST:
        raise ValueError(f"{len(settled)} readings after the first fifth of the calls are too few to say: {FEWEST}")
    found = []
    for process in settled[0][1]:
        if all(process in sizes for _, sizes in settled):
            points = [(calls / 1e5, sizes[process] / 1e6) for calls, sizes in settled]
            found.append(Trend(process, readings[0][1].get(process, 0) / 1e6, points[-1][1], slope(points)))
    return found


def restarted(readings: Sequence[Reading]) -> set[str]:
    """Processes that came or went between the first reading and the last: their memory says nothing."""
    seen = set().union(*(sizes for _, sizes in readings))
    return {process for process in seen if not all(process in sizes for _, sizes in readings)}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """That of the straight line with the least squares through the points."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        raise ValueError("all readings are of the same number of calls")
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def soak(directory: Path, calls: int, seconds: float, workers: int) -> list[Reading]:
    """Let this many calls go through, within this time; a reading after each burst."""
    readings: list[Reading] = []
    with ExitStack() as stack:
        upstream, cordon = Upstream(directory, workers), Everything(directory, workers)
        for system in (upstream, cordon):
            stack.callback(system.stop)
            system.start(upstream.port)
        check(cordon)
        done, deadline = 0, time.monotonic() + seconds
        while done < calls and time.monotonic() < deadline:
            burst = run(cordon, PATHS[len(readings) % 2], CONNECTIONS, BURST_SECONDS)
            if burst.failed:
                raise SystemExit(f"{burst.failed:.0f} calls failed after {done:,}")
            done += burst.calls
            readings.append((done, cordon.memory()))
            total = sum(readings[-1][1].values()) / 1e6
            print(f"{done:>10,} calls  {total:7.1f} MB  {burst.rate:7,.0f} calls/s", file=sys.stderr, flush=True)
    return readings


def main() -> None:
    """Run it and print the trends."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=300_000)
    parser.add_argument("--minutes", type=float, default=30.0, help="end after this time, however many calls it was")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=2.0, help="MB that a process may gain per 100,000 calls")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cordon-soak-") as name:
        readings = soak(Path(name), options.calls, options.minutes * 60, options.workers)
    done = readings[-1][0] if readings else 0
    print(f"{done:,} calls of {options.calls:,}, {len(readings)} readings\n")
    try:
        found = trends(readings)
    except ValueError as error:
        print(f"error: {error}; allow more --calls or --minutes", file=sys.stderr)
        raise SystemExit(2) from None
    print("| process | MB at first | MB at last | MB per 100,000 calls | flat |\n|---|---:|---:|---:|---|")
    for trend in found:
        flat = "yes" if trend.flat(options.limit) else "**no**"
        print(f"| {trend.process} | {trend.first:.1f} | {trend.last:.1f} | {trend.slope:+.2f} | {flat} |")
    unsteady = restarted(readings)
    for process in sorted(unsteady):
        print(f"\n{process} came or went meanwhile")
    if done < options.calls:
        print(f"\n{options.calls - done:,} calls fewer than asked for: the time was over")
    if done < 100_000:
        print("\nThe slopes are extrapolated: of so few calls, caches that still fill look like a leak")
    if unsteady or not all(trend.flat(options.limit) for trend in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
