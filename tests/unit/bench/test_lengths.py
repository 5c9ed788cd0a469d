"""How long a slow system is measured."""

from __future__ import annotations

import pytest

from bench import run as bench_run
from bench.load import Measure, length_for
from bench.report import WHOLE
from bench.run import Lengths


def measured(calls: int) -> Measure:
    return Measure(rate=calls / 5, p50=1.0, p99=10.0, cpu=100.0, memory=50.0, failed=0.0, calls=calls)


@pytest.mark.parametrize(
    ("calls", "seconds"), [(5_000, 5), (1_000, 5), (999, 7), (500, 12), (100, 60), (10, 180), (0, 180)]
)
def test_a_run_is_as_long_as_its_calls_need_and_no_longer_than_may_be(calls: int, seconds: int) -> None:
    assert length_for(measured(calls), 5, 1_000, 180) == seconds


def test_a_run_is_never_shorter_than_all_are() -> None:
    assert length_for(measured(1), 300, 1_000, 180) == 300


class Slow:
    """A system with so many calls a second, for whoever loads it."""

    name = "slow"

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.runs: list[int] = []


def test_what_a_slow_system_needs_is_found_once_and_holds_for_all_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(system: Slow, _path: str, _connections: int, seconds: int) -> Measure:
        system.runs.append(seconds)
        return measured(system.rate * seconds)

    monkeypatch.setattr(bench_run, "run", loaded)
    lengths = Lengths(5, 1_000, 180)
    slow, quick = Slow(40), Slow(5_000)
    for _ in range(3):
        assert lengths.run(slow, WHOLE, "/v1", 16).calls >= 1_000  # type: ignore[arg-type]
        lengths.run(quick, WHOLE, "/v1", 1)  # type: ignore[arg-type]
    assert (slow.runs, quick.runs) == ([5, 30, 30, 30], [5, 5, 5])
    assert lengths.told() == " Runs with fewer than 1,000 calls were made longer: slow up to 30 s."
    assert lengths.run(slow, WHOLE, "/v1", 64).calls >= 1_280  # type: ignore[arg-type]
    assert Lengths(5, 1_000, 180).told() == ""
