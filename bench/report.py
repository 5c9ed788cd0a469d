"""The figures as Markdown: tables by load, ratios to the peers, and what was aimed at beside what was reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.full import Everything
from bench.load import Measure
from bench.peers.systems import EnvoyOpa, LiteLLM, RustProxy
from bench.systems import Direct, Nginx, PlainProxy

YARDSTICK = Nginx.name
WHOLE = "whole answers (about 600 bytes)"
STREAMS = "server-sent events (20 events a stream)"
LOADS = {WHOLE: "/v1/chat/completions", STREAMS: "/stream/chat/completions"}
"""Loads by name, with the upstream's path of each."""

FEWEST_CALLS = 20
"""Calls for each connection below which a measure is not compared."""

Key = tuple[str, int, str]
"""Load, connections and system."""

Results = Mapping[Key, Measure]


@dataclass(frozen=True)
class Aim:
    """A ratio to reach. `most`: the ratio may be at most this, otherwise at least."""

    what: str
    limit: float
    ratio: float
    most: bool = False
    unit: str = ""
    enough: bool = True
    """Whether so many calls went through that the ratio says something."""

    @property
    def met(self) -> bool:
        """Whether it is reached, at full precision. What was hardly measured meets nothing."""
        if not self.enough:
            return False
        return self.ratio <= self.limit if self.most else self.ratio >= self.limit

    def row(self) -> str:
        """Its line of the table."""
        sign = "≤" if self.most else "≥"
        met = ("yes" if self.met else "**no**") if self.enough else "too few calls, or too many failed, to say"
        return f"| {self.what} | {sign} {self.limit:.2f}{self.unit} | {self.ratio:.2f}{self.unit} | {met} |"


def enough(one: Measure, connections: int) -> bool:
    """Whether a measure says something: wrk leaves out the calls under way at the end of a run.

    With only a few calls a connection those are most of them, and the system looks slower than it is.
    """
    return one.calls >= FEWEST_CALLS * connections and one.failed <= one.calls / 100


def tables(results: Results, first: Mapping[str, float]) -> str:
    """All figures, with the rate's ratio to the yardstick; then the time to a stream's first byte."""
    lines: list[str] = []
    for load in LOADS:
        lines += [f"## {load[0].upper()}{load[1:]}", ""]
        lines += [
            "| connections | system | calls/s | × nginx | p50 ms | p99 ms | CPU µs a call | memory MB | failed |",
            "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for count in _connections(results):
            base = results[load, count, YARDSTICK]
            for name in first:
                one = results[load, count, name]
                lines.append(
                    f"| {count} | {name} | {one.rate:,.0f} | {_ratio(one.rate, base.rate)} | {one.p50:.2f} "
                    f"| {one.p99:.2f} | {one.cpu:.0f} | {one.memory:.0f} | {one.failed:.0f} |"
                )
        lines.append("")
    lines += ["## First byte of a stream", "", "| system | ms | × nginx |", "|---|---:|---:|"]
    for name, milliseconds in first.items():
        lines.append(f"| {name} | {milliseconds:.2f} | {_ratio(milliseconds, first[YARDSTICK])} |")
    return "\n".join(lines)


def ratios(results: Results, peers: Sequence[str]) -> str:
    """Cordon's figures divided by each peer's in the same run."""
    figures: tuple[Callable[[Measure], float], ...] = (
        lambda one: one.rate,
        lambda one: one.p50,
        lambda one: one.p99,
        lambda one: one.cpu,
        lambda one: one.memory,
    )
    lines = [
        "## Cordon, everything on, beside its peers",
        "",
        "Cordon's figure divided by the peer's: more is better for calls/s, less for all others. "
        f"A dash: fewer than {FEWEST_CALLS} calls a connection went through, or more than 1 % failed.",
        "",
        "| load | connections | peer | calls/s | p50 | p99 | CPU a call | memory |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for load in LOADS:
        for count in _connections(results):
            ours = results[load, count, Everything.name]
            for name in peers:
                theirs = results[load, count, name]
                said = enough(ours, count) and enough(theirs, count)
                cells = " | ".join(_ratio(figure(ours), figure(theirs)) if said else "–" for figure in figures)
                lines.append(f"| {load.partition(' (')[0]} | {count} | {name} | {cells} |")
    return "\n".join(lines)


def aims(results: Results, peers: Sequence[str], commit: float) -> list[Aim]:
    """What is aimed at in whole answers; that against a peer only where it was measured."""
    counts = _connections(results)
    most, one, cordon = max(counts), min(counts), Everything.name
    nginx, plain, ours = (results[WHOLE, most, name] for name in (YARDSTICK, PlainProxy.name, Everything.name))

    def said(count: int, *names: str) -> bool:
        return all(enough(results[WHOLE, count, name], count) for name in names)

    added = results[WHOLE, one, Everything.name].p50 - results[WHOLE, one, Direct.name].p50
    every = "everything on"
    found = [
        Aim(
            f"plain, {most} connections: calls/s × nginx",
            0.80,
            _divide(plain.rate, nginx.rate),
            enough=said(most, PlainProxy.name, YARDSTICK),
        ),
        Aim(
            f"{every}, {most} connections: calls/s × nginx",
            0.24,
            _divide(ours.rate, nginx.rate),
            enough=said(most, cordon, YARDSTICK),
        ),
        Aim(
            f"{every}, {one} connections: added p50, 2 × commit ({commit:.2f} ms) + 0.4",
            2 * commit + 0.4,
            added,
            most=True,
            unit=" ms",
            enough=said(one, cordon, Direct.name),
        ),
    ]
    if EnvoyOpa.name in peers:
        envoy, sure = results[WHOLE, most, EnvoyOpa.name], said(most, cordon, EnvoyOpa.name)
        found.append(
            Aim(f"{every}, {most} connections: calls/s × Envoy + OPA", 2.5, _divide(ours.rate, envoy.rate), enough=sure)
        )
        found.append(
            Aim(
                f"{every}, {most} connections: CPU a call × Envoy + OPA",
                0.5,
                _divide(ours.cpu, envoy.cpu),
                most=True,
                enough=sure,
            )
        )
        if 16 in counts:
            slow, slower = (results[WHOLE, 16, name].p99 for name in (Everything.name, EnvoyOpa.name))
            found.append(
                Aim(
                    f"{every}, 16 connections: p99 × Envoy + OPA",
                    0.7,
                    _divide(slow, slower),
                    most=True,
                    enough=said(16, cordon, EnvoyOpa.name),
                )
            )
    for kind, limit in ((LiteLLM, 30.0), (RustProxy, 0.5)):
        if kind.name in peers:
            theirs = results[WHOLE, most, kind.name]
            what = f"{every}, {most} connections: calls/s × {kind.name}"
            sure = said(most, cordon, kind.name)
            found.append(Aim(what, limit, _divide(ours.rate, theirs.rate), enough=sure))
    return found


def aims_table(found: Sequence[Aim]) -> str:
    """The aims as a table."""
    return "\n".join(["| what | aim | reached | met |", "|---|---|---|---|", *(aim.row() for aim in found)])


def absent(missing: Mapping[str, str]) -> str:
    """The peers that could not be had, each with the reason; empty where there are none."""
    if not missing:
        return ""
    told = "\n".join(f"- {name}: {reason}" for name, reason in missing.items())
    return f"Left out, since this machine lacks them:\n\n{told}\n\n"


def _connections(results: Results) -> list[int]:
    return sorted({key[1] for key in results})


def _divide(ours: float, theirs: float) -> float:
    """The ratio; not a number where nothing was measured, which meets no aim."""
    return ours / theirs if theirs > 0 else float("nan")


def _ratio(ours: float, theirs: float) -> str:
    return f"{_divide(ours, theirs):.2f}" if theirs > 0 else "–"
