"""Metrics: a closed table, cheap tallies, snapshots in files, one rendering."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lineage.metrics import (
    MAX_SERIES,
    METRICS,
    SECONDS,
    Meter,
    MetricError,
    keep_snapshots,
    load_snapshots,
    render,
)


def samples(meters: list[Meter]) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """What is rendered, as Prometheus's own parser reads it."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(render([meter.snapshot() for meter in meters]).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_the_table_is_closed_and_names_carry_their_unit_last() -> None:
    units = {"total", "seconds", "records", "bytes", "clients"}
    for name, definition in METRICS.items():
        assert re.fullmatch(r"cordon(_[a-z0-9]+)+", name)
        assert (name.endswith("_total")) == (definition.kind == "counter"), name
        assert definition.help.endswith("."), name
        assert (definition.buckets != ()) == (definition.kind == "histogram"), name
        assert list(definition.buckets) == sorted(set(definition.buckets)), name
        assert "process" not in definition.labels
        if definition.kind == "histogram":
            assert name.rsplit("_", 1)[1] in units, name


def test_counters_add_up() -> None:
    meter = Meter("gateway-0")
    calls = meter.counter("cordon_calls_total", "openai", "allowed")
    calls.inc()
    calls.inc(2)
    meter.inc("cordon_calls_total", ("openai", "allowed"))
    meter.inc("cordon_calls_total", ("openai", "blocked"), 5)
    rendered = samples([meter])["cordon_calls_total"]
    assert rendered[("process", "gateway-0"), ("route", "openai"), ("verdict", "allowed")] == 4
    assert rendered[("process", "gateway-0"), ("route", "openai"), ("verdict", "blocked")] == 5


def test_gauges_say_what_is_now() -> None:
    meter = Meter("log")
    meter.set("cordon_log_size_records", 7)
    meter.gauge("cordon_log_size_records").set(9)
    assert samples([meter])["cordon_log_size_records"] == {(("process", "log"),): 9}


def test_histograms_count_into_cumulative_buckets() -> None:
    meter = Meter("log")
    commits = meter.histogram("cordon_log_commit_seconds")
    for value in (0.0, SECONDS[0], SECONDS[0] * 1.01, 0.2, 10_000.0):
        commits.observe(value)
    meter.observe("cordon_log_commit_seconds", 0.2)
    rendered = samples([meter])
    buckets = {dict(labels)["le"]: value for labels, value in rendered["cordon_log_commit_seconds_bucket"].items()}
    assert buckets[repr(SECONDS[0])] == 2
    assert buckets[repr(SECONDS[1])] == 3
    assert buckets["0.25"] == 5
    assert buckets["+Inf"] == 6
    assert rendered["cordon_log_commit_seconds_count"] == {(("process", "log"),): 6}
    total = next(iter(rendered["cordon_log_commit_seconds_sum"].values()))
    assert total == pytest.approx(10_000.4 + SECONDS[0] * 2.01)


def test_each_process_has_a_series_of_its_own() -> None:
    meters = [Meter("gateway-0"), Meter("gateway-1")]
    for meter in meters:
        meter.inc("cordon_calls_total", ("r", "allowed"))
    assert len(samples(meters)["cordon_calls_total"]) == 2


def test_labels_cannot_break_the_text() -> None:
    meter = Meter('odd"process\n')
    meter.inc("cordon_calls_total", ('a"b\\c\nd', "allowed"))
    assert (("process", 'odd"process\n'), ("route", 'a"b\\c\nd'), ("verdict", "allowed")) in samples([meter])[
        "cordon_calls_total"
    ]


@pytest.mark.parametrize(
    "use",
    [
        lambda meter: meter.inc("cordon_unheard_of_total"),
        lambda meter: meter.inc("cordon_log_size_records"),
        lambda meter: meter.set("cordon_calls_total", 1, ("a", "b")),
        lambda meter: meter.observe("cordon_calls_total", 1.0),
        lambda meter: meter.inc("cordon_calls_total"),
        lambda meter: meter.histogram("cordon_step_seconds"),
        lambda meter: meter.counter("cordon_calls_total", "too", "many", "labels"),
    ],
)
def test_what_is_not_in_the_table_raises_and_leaves_no_trace(use: object) -> None:
    meter = Meter("x")
    with pytest.raises(MetricError):
        use(meter)  # type: ignore[operator]
    render([meter.snapshot()])


def test_series_are_bounded() -> None:
    meter = Meter("x")
    for number in range(MAX_SERIES + 500):
        meter.inc("cordon_calls_total", (f"route-{number}", "allowed"))
        meter.observe("cordon_step_seconds", 0.1, (f"step-{number}",))
    rendered = samples([meter])
    assert len(rendered["cordon_calls_total"]) == MAX_SERIES + 1
    assert rendered["cordon_calls_total"][("process", "x"), ("route", "other"), ("verdict", "other")] == 500
    assert len(rendered["cordon_step_seconds_count"]) == MAX_SERIES + 1


def test_snapshots_travel_through_files(tmp_path: Path) -> None:
    for name in ("gateway-0", "log"):
        meter = Meter(name)
        meter.inc("cordon_calls_total", ("r", "allowed"))
        meter.observe("cordon_step_seconds", 0.1, ("decision",))
        meter.write(tmp_path / "metrics")
    snapshots = load_snapshots(tmp_path / "metrics")
    assert [snapshot["process"] for snapshot in snapshots] == ["gateway-0", "log"]
    assert b'cordon_calls_total{process="log",route="r",verdict="allowed"} 1.0' in render(snapshots)
    assert sorted(path.name for path in (tmp_path / "metrics").iterdir()) == ["gateway-0.json", "log.json"]


def test_stale_cut_and_foreign_files_are_left_out(tmp_path: Path) -> None:
    meter = Meter("alive")
    meter.write(tmp_path)
    old = {**meter.snapshot(), "process": "gone", "at": time.time() - 60}
    (tmp_path / "gone.json").write_bytes(orjson.dumps(old))
    (tmp_path / "cut.json").write_bytes(b'{"process": "cu')
    (tmp_path / "list.json").write_bytes(b"[]")
    (tmp_path / "none.json").write_bytes(b"{}")
    (tmp_path / "other.txt").write_bytes(b"{}")
    assert [snapshot["process"] for snapshot in load_snapshots(tmp_path)] == ["alive"]
    assert load_snapshots(tmp_path / "nowhere") == []


def test_a_snapshot_of_another_version_does_not_break_the_rendering() -> None:
    meter = Meter("new")
    meter.inc("cordon_calls_total", ("r", "allowed"))
    snapshot = meter.snapshot()
    snapshot["tallies"].append({"name": "cordon_from_the_future_total", "labels": [], "value": 1})
    assert b"future" not in render([snapshot])


def test_snapshots_are_kept_until_cancelled_and_a_full_disk_does_not_end_that(tmp_path: Path) -> None:
    async def scenario() -> None:
        meter = Meter("m")
        (tmp_path / "metrics").write_text("in the way")
        task = asyncio.create_task(keep_snapshots(meter, tmp_path / "metrics", seconds=0.005))
        await asyncio.sleep(0.02)
        assert not task.done()
        (tmp_path / "metrics").unlink()
        async with asyncio.timeout(5):
            while not (tmp_path / "metrics" / "m.json").exists():
                await asyncio.sleep(0.005)
        task.cancel()

    asyncio.run(scenario())


def test_counting_is_cheap_enough_for_the_hot_path() -> None:
    meter = Meter("m")
    calls, steps = meter.counter("cordon_calls_total", "r", "allowed"), meter.histogram("cordon_step_seconds", "s")
    start = time.perf_counter()
    for _ in range(20_000):
        calls.inc()
        steps.observe(0.0013)
    assert (time.perf_counter() - start) / 40_000 < 5e-6
