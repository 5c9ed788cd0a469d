from __future__ import annotations

import pytest

from bench import report
from bench.full import Everything
from bench.load import Measure, median
from bench.peers.systems import PEERS, EnvoyOpa, LiteLLM, RustProxy
from bench.systems import Direct, Nginx, PlainProxy

NAMES = [kind.name for kind in PEERS]


def measured(rate: float = 1000.0, **changed: float) -> Measure:
    figures = {"p50": 1.0, "p99": 10.0, "cpu": 100.0, "memory": 50.0, "failed": 0.0, "calls": 5000} | changed
    return Measure(rate=rate, **figures)  # type: ignore[arg-type]


def run_of(**systems: Measure) -> dict[report.Key, Measure]:
    """The same figures of each system for all loads and connections, changed by name of the class."""
    kinds = (Direct, Nginx, PlainProxy, Everything, *PEERS)
    return {
        (load, count, kind.name): systems.get(kind.__name__, measured())
        for load in report.LOADS
        for count in (1, 16, 64)
        for kind in kinds
    }


def aim_of(found: list[report.Aim], part: str) -> report.Aim:
    return next(aim for aim in found if part in aim.what)


@pytest.mark.parametrize(
    ("part", "kind", "ours", "just", "short"),
    [
        ("calls/s × Envoy", EnvoyOpa, measured(2500), measured(1000), measured(1001)),
        ("CPU a call × Envoy", EnvoyOpa, measured(cpu=200), measured(cpu=400), measured(cpu=399)),
        ("p99 × Envoy", EnvoyOpa, measured(p99=7), measured(p99=10), measured(p99=9.9)),
        (f"calls/s × {LiteLLM.name}", LiteLLM, measured(3000), measured(100), measured(100.1)),
        (f"calls/s × {RustProxy.name}", RustProxy, measured(500), measured(1000), measured(1001)),
    ],
)
def test_an_aim_is_met_at_its_limit_and_not_beyond(part, kind, ours, just, short):
    def met(theirs: Measure) -> bool:
        results = run_of(Everything=ours, **{kind.__name__: theirs})
        return aim_of(report.aims(results, NAMES, 0.2), part).met

    assert met(just)
    assert not met(short)


def test_a_figure_that_only_rounds_to_its_limit_does_not_meet_it():
    aim = report.Aim("calls/s", 2.5, 2.4999)
    assert not aim.met
    assert "**no**" in aim.row()


def test_the_peers_are_judged_at_the_connections_that_the_aim_names():
    results = run_of()
    results[report.WHOLE, 64, Everything.name] = measured(3000)
    results[report.WHOLE, 16, Everything.name] = measured(p99=5)
    found = report.aims(results, NAMES, 0.2)
    assert aim_of(found, "calls/s × Envoy").ratio == pytest.approx(3)
    assert aim_of(found, "p99 × Envoy").ratio == pytest.approx(0.5)


def test_an_absent_peer_has_no_aim_and_is_named():
    found = report.aims(run_of(), [RustProxy.name], 0.2)
    assert not [aim for aim in found if "Envoy" in aim.what or LiteLLM.name in aim.what]
    assert aim_of(found, RustProxy.name)
    assert f"- {LiteLLM.name}: needs python3" in report.absent({LiteLLM.name: "needs python3"})
    assert report.absent({}) == ""


def test_without_sixteen_connections_nothing_is_said_of_them():
    results = {key: value for key, value in run_of().items() if key[1] != 16}
    assert not [aim for aim in report.aims(results, NAMES, 0.2) if "16" in aim.what]


def test_what_was_not_measured_meets_no_aim():
    found = report.aims(run_of(EnvoyOpa=measured(0, cpu=0)), NAMES, 0.2)
    assert not aim_of(found, "calls/s × Envoy").met
    assert not aim_of(found, "CPU a call × Envoy").met


def test_ratios_are_ours_divided_by_theirs():
    results = run_of(Everything=measured(3000, p50=2, p99=5, cpu=50, memory=200))
    lines = report.ratios(results, [EnvoyOpa.name]).splitlines()
    assert lines[-1] == (
        f"| server-sent events | 64 | {EnvoyOpa.name} | 3.00 | 2.00 | 0.50 | 0.50 | 4.00 |"
    )  # fmt: skip
    assert len([line for line in lines if EnvoyOpa.name in line]) == 6


def test_tables_hold_every_system_at_every_number_of_connections():
    first = {kind.name: 1.0 for kind in (Direct, Nginx, PlainProxy, Everything, *PEERS)}
    text = report.tables(run_of(), first)
    for name in first:
        assert text.count(f"| {name} |") == 7


def test_calls_and_failures_of_several_runs_are_added_up_and_the_rest_is_their_median():
    one = median([measured(rate, failed=1) for rate in (10, 30, 20)])
    assert (one.rate, one.failed, one.calls) == (20, 3, 15000)


@pytest.mark.parametrize("hardly", [{"calls": 64 * report.FEWEST_CALLS - 1}, {"failed": 51}])
def test_a_peer_that_hardly_got_a_call_through_meets_no_aim_and_has_no_ratio(hardly):
    """In a short run a slow peer completes next to nothing; beside it everything looks fast."""
    results = run_of(Everything=measured(90_000), LiteLLM=measured(1, **hardly))
    aim = aim_of(report.aims(results, NAMES, 0.2), LiteLLM.name)
    assert not aim.met
    assert "to say" in aim.row()
    assert report.ratios(results, [LiteLLM.name]).splitlines()[-1].endswith("| – | – | – | – | – |")
