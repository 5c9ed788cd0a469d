"""Measures Cordon beside others on one machine, interleaved, and writes the figures to bench/RESULTS.md.

Everything runs on the same processors: load generator, upstream and the system measured. So absolute figures hold for
that machine at that time; what can be compared are the ratios.
Usage: python -m bench [--seconds 5] [--repeat 3] [--connections 1,16,64] [--workers 2] [--peers]
    [--fewest 1000] [--longest 180] [--opa-threads 1] [--no-write]
A run in which fewer calls than --fewest came through is made again, as long as those need, at most --longest seconds.
With --peers it measures Envoy with OPA, LiteLLM's proxy and a Rust proxy too, which scripts/peers gets.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench.checks import check
from bench.full import Everything, commit_milliseconds
from bench.load import Measure, first_byte, length_for, median, run
from bench.peers.systems import PEERS, EnvoyOpa
from bench.report import FEWEST_CALLS, LOADS, Key, absent, aims, aims_table, ratios, tables
from bench.systems import ROOT, Direct, Nginx, PlainProxy, System, Upstream

RESULTS = ROOT / "bench/RESULTS.md"


class Lengths:
    """How long each system is measured, in seconds: the same for all, but for those that are slow (`slow`)."""

    def __init__(self, seconds: int, fewest: int, longest: int) -> None:
        self.seconds = seconds
        self.slow: dict[Key, int] = {}
        self._fewest = fewest
        self._longest = longest

    def run(self, system: System, load: str, path: str, connections: int) -> Measure:
        """Measure; again and longer where too few calls came through. What was learned holds for the next rounds."""
        key = (load, connections, system.name)
        seconds = self.slow.get(key, self.seconds)
        found = run(system, path, connections, seconds)
        needed = length_for(found, seconds, max(self._fewest, FEWEST_CALLS * connections), self._longest)
        if needed > seconds:
            self.slow[key] = needed
            found = run(system, path, connections, needed)
        return found

    def told(self) -> str:
        """What ran longer, for the report."""
        longest: dict[str, int] = {}
        for (_, _, name), seconds in self.slow.items():
            longest[name] = max(seconds, longest.get(name, 0))
        slow = ", ".join(f"{name} up to {seconds} s" for name, seconds in longest.items())
        return f" Runs with fewer than {self._fewest:,} calls were made longer: {slow}." if slow else ""


def measure(
    systems: Sequence[System], connections: Sequence[int], repeat: int, lengths: Lengths
) -> tuple[dict[Key, Measure], dict[str, float]]:
    """Medians by load, connections and system; and the time to a stream's first byte by system."""
    runs: dict[Key, list[Measure]] = {}
    for round_number in range(1, repeat + 1):
        for load, path in LOADS.items():
            for count in connections:
                for system in systems:
                    told = f"round {round_number}/{repeat}: {load}, {count} connections, {system.name}"
                    print(f"{told:100}", end="\r", file=sys.stderr, flush=True)
                    runs.setdefault((load, count, system.name), []).append(lengths.run(system, load, path, count))
    print(" " * 100, end="\r", file=sys.stderr)
    first = {system.name: first_byte(system, "/stream/chat/completions") for system in systems}
    return {key: median(measures) for key, measures in runs.items()}, first


POLICY = ("## The decision cache", "## Replay")
"""The tables of POLICY.md that belong to the figures of a whole run."""


def elsewhere() -> str:
    """The figures of policy, as `bench.policy` measured them last, and where the rest is."""
    text = (Path(__file__).parent / "POLICY.md").read_text("utf-8")
    measured = next(line for line in text.splitlines() if line.startswith("Measured "))
    tables = [re.findall(r"^\|.*$", text[text.index(heading) :].split("\n## ")[0], re.MULTILINE) for heading in POLICY]
    return "\n".join(
        [
            "## Policy: the decision cache and replay",
            "",
            f"From [POLICY.md](POLICY.md). {measured.partition('; processor')[0]}; processor time of one process.",
            *(line for table in tables for line in ("", *table)),
            "",
            "What the embedded engine accepts beside OPA is in [CONFORMANCE.md](CONFORMANCE.md).",
        ]
    )


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
    parser.add_argument("--peers", action="store_true", help="measure the peers too (scripts/peers gets them)")
    parser.add_argument("--fewest", type=int, default=1_000, help="calls that a run has to have")
    parser.add_argument("--longest", type=int, default=180, help="seconds that a run takes at most for that")
    parser.add_argument("--opa-threads", type=int, default=1, help="GOMAXPROCS of the ext_authz server beside Envoy")
    parser.add_argument("--no-write", action="store_true", help="print only, leave bench/RESULTS.md as it is")
    options = parser.parse_args()
    EnvoyOpa.threads = options.opa_threads
    missing = [program for program in ("wrk", "nginx") if shutil.which(program) is None]
    if missing:
        raise SystemExit(
            f"the measurement needs {' and '.join(missing)}; on Debian: apt-get install {' '.join(missing)}"
        )
    where = machine(options.workers, options.seconds, options.repeat)
    if options.peers:
        where += f" OPA's server: GOMAXPROCS={options.opa_threads}, GOGC=400."
    kinds: list[type[System]] = [Direct, Nginx, PlainProxy, Everything]
    wanted = PEERS if options.peers else ()
    missing_peers = {kind.name: reason for kind in wanted if (reason := kind.lacks())}
    peers = [kind for kind in wanted if kind.name not in missing_peers]
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as name, ExitStack() as stack:
        Path(name).chmod(0o755)
        upstream = Upstream(Path(name), options.workers)
        systems = [kind(Path(name), options.workers) for kind in (*kinds, *peers)]
        for system in (upstream, *systems):
            stack.callback(system.stop)
            system.start(upstream.port)
            if system is not upstream:
                check(system)
        counts = [int(count) for count in options.connections.split(",")]
        lengths = Lengths(options.seconds, options.fewest, options.longest)
        results, first = measure(systems, counts, options.repeat, lengths)
        names = [kind.name for kind in peers]
        found = aims(results, names, commit_milliseconds(Path(name)))
        where += lengths.told()
        beside = f"\n\n{ratios(results, names)}" if names else ""
        text = f"# Speed\n\n{where}\n\n{absent(missing_peers)}{aims_table(found)}{beside}\n\n{tables(results, first)}\n"
        text += f"\n{elsewhere()}\n"
    print(text)
    if not options.no_write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
