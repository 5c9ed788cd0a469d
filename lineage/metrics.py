"""Metrics of all processes: a closed table of names, cheap tallies in each process, one rendering for Prometheus.

Each process keeps a `Meter`, writes a snapshot of it to a file now and then, and the control server reads the
files and renders them. Nothing here is shared between processes while they count.
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lineage.errors import LineageError

MAX_SERIES: Final = 1_000
"""Most label combinations of one metric in one process; further ones are counted under the label value "other"."""
STALE_SECONDS: Final = 15.0
"""A snapshot older than this belongs to a process that is gone, and is not rendered."""

SECONDS: Final = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Bucket bounds of every duration."""
COUNTS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0)
"""Bucket bounds of sizes of groups."""

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """One row of the table: what is counted, in which unit (the name's last part), by which labels."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    buckets: tuple[float, ...] = ()


METRICS: Final[Mapping[str, Definition]] = {
    "cordon_calls_total": Definition("counter", "Calls answered, by what became of them.", ("route", "verdict")),
    "cordon_step_seconds": Definition("histogram", "Time a call spends in each step.", ("step",), SECONDS),
    "cordon_connections": Definition("gauge", "Client connections of a worker."),
    "cordon_buffered_bytes": Definition("gauge", "Request and answer bytes that a worker holds."),
    "cordon_malformed_requests_total": Definition("counter", "Requests that never became a call.", ("code",)),
    "cordon_failed_handshakes_total": Definition(
        "counter", "TLS handshakes of the gateway's clients that failed, by reason.", ("reason",)
    ),
    "cordon_revocation_list_faults": Definition(
        "gauge", "Revocation lists that are overdue, or older than the one in force and not taken.", ("fault",)
    ),
    "cordon_client_certificates_total": Definition(
        "counter", "Connections where client certificates are taken, by what the certificate is.", ("certificate",)
    ),
    "cordon_policy_decided_calls_total": Definition(
        "counter",
        "Calls by whose bundle decided (common, or a tenant's own) and its stage (configured, canary, live).",
        ("scope", "stage"),
    ),
    "cordon_policy_rollouts_missing": Definition(
        "gauge", "Roll-outs in shadow, canary or live whose bundle a worker does not have; it refuses their calls."
    ),
    "cordon_policy_rollout_failures_total": Definition(
        "counter", "Times that the bundle of a roll-out could not be taken up."
    ),
    "cordon_policy_shadow_total": Definition(
        "counter",
        "Decisions tried by a bundle in shadow, by what it would have changed: same, refused, allowed, redaction, "
        "endpoint, plan, label, error; skipped: not tried.",
        ("kind",),
    ),
    "cordon_policy_shadow_waiting": Definition("gauge", "Decisions that wait for the shadow process."),
    "cordon_policy_cache_hits_total": Definition("counter", "Decisions that were remembered.", ("moment",)),
    "cordon_policy_cache_misses_total": Definition(
        "counter", "Decisions that were looked for, evaluated and remembered.", ("moment",)
    ),
    "cordon_policy_cache_passed_total": Definition(
        "counter", "Decisions that were evaluated without a look into the cache, by why.", ("moment", "reason")
    ),
    "cordon_policy_cache_evictions_total": Definition(
        "counter", "Remembered decisions that made room for others.", ("rule",)
    ),
    "cordon_policy_cache_entries": Definition("gauge", "Remembered decisions.", ("rule",)),
    "cordon_policy_cache_bytes": Definition("gauge", "Memory of remembered decisions, as it is counted.", ("rule",)),
    "cordon_policy_server_up": Definition("gauge", "1 while the OPA server answers with the bundle that is meant."),
    "cordon_policy_server_requests_total": Definition("counter", "Requests for decisions sent to the OPA server."),
    "cordon_policy_server_seconds": Definition(
        "histogram", "Time of one request for a decision to the OPA server.", (), SECONDS
    ),
    "cordon_policy_server_errors_total": Definition(
        "counter", "Decisions and looks that the OPA server gave no usable answer to.", ("reason",)
    ),
    "cordon_policy_server_pushes_total": Definition(
        "counter", "Times that a bundle was put into the OPA server.", ("result",)
    ),
    "cordon_policy_downloads_total": Definition(
        "counter", "Looks at the bundle server, by what came of them: new, unchanged, refused, failed.", ("result",)
    ),
    "cordon_policy_download_up": Definition("gauge", "1 while the bundle server answers as it should."),
    "cordon_policy_trials_total": Definition(
        "counter",
        "Bundles tried on the playground, by what came of it: allowed, denied, checked (without an input), refused (by "
        "admission), error, invalid (no files of a bundle), busy (another try was under way).",
        ("outcome",),
    ),
    "cordon_policy_trial_seconds": Definition("histogram", "Time of one try on the playground.", (), SECONDS),
    "cordon_policy_proposals_total": Definition(
        "counter",
        "Bundles proposed on the console or its API, by what came of it: proposed, refused (by admission or its own "
        "tests), error, busy (another one was being examined).",
        ("outcome",),
    ),
    "cordon_process_restarts_total": Definition("counter", "Processes that ended and were started again.", ("role",)),
    "cordon_log_size_records": Definition("gauge", "Records in the log."),
    "cordon_log_checkpoint_records": Definition("gauge", "Records that the latest checkpoint covers."),
    "cordon_log_commit_seconds": Definition("histogram", "Time of one commit, until it is on the disk.", (), SECONDS),
    "cordon_log_batch_records": Definition("histogram", "Records in one commit.", (), COUNTS),
    "cordon_log_queue_records": Definition("gauge", "Records that wait for the next commit."),
    "cordon_log_standby": Definition("gauge", "1 while another machine's log writer signs the checkpoints."),
    "cordon_log_pruned_records": Definition("gauge", "Index below which records were given up."),
    "cordon_log_clients": Definition("gauge", "Processes connected to the log writer."),
    "cordon_log_refused_total": Definition("counter", "Records that the log refused.", ("reason",)),
    "cordon_log_checkpoint_failures_total": Definition("counter", "Checkpoints that could not be written."),
    "cordon_side_blobs_total": Definition("counter", "Blobs kept beside the log."),
    "cordon_side_failures_total": Definition("counter", "Blobs beside the log that could not be kept."),
    "cordon_side_queue_bytes": Definition("gauge", "Blobs beside the log that wait to be written."),
    "cordon_tokens_issued_total": Definition("counter", "Tokens sent to upstreams in the place of values."),
    "cordon_tokens_restored_total": Definition("counter", "Tokens in answers that became their values again."),
    "cordon_tokens_failures_total": Definition("counter", "Times that the table of tokens could not be used."),
    "cordon_follower_lag_records": Definition("gauge", "Records in the log that the detectors have not seen yet."),
    "cordon_follower_records_total": Definition("counter", "Records that the detectors have seen."),
    "cordon_follower_failures_total": Definition("counter", "Records that a consumer failed on.", ("consumer",)),
    "cordon_follower_written_total": Definition("counter", "Records that detectors and playbooks wrote.", ("kind",)),
    "cordon_decision_log_delivered_total": Definition(
        "counter", "Events of decision logs that their destination took.", ("destination",)
    ),
    "cordon_decision_log_failures_total": Definition(
        "counter", "Deliveries of decision logs that failed and are tried again.", ("destination", "reason")
    ),
    "cordon_decision_log_masked_total": Definition(
        "counter", "Events delivered that data.system.log.mask changed.", ("destination",)
    ),
    "cordon_decision_log_dropped_total": Definition(
        "counter", "Events that data.system.log.drop left out.", ("destination",)
    ),
    "cordon_decision_log_lag_records": Definition(
        "gauge", "Records in the log that a destination is not past yet.", ("destination",)
    ),
    "cordon_decision_log_lag_seconds": Definition(
        "gauge", "Age of the oldest event that a destination lacks; 0 when it lacks none.", ("destination",)
    ),
    "cordon_soc_standby": Definition("gauge", "1 while this SOC process waits for another machine's to end."),
    "cordon_follower_waiting_records": Definition("gauge", "Records that detectors and playbooks want written."),
}
"""Every metric that there is; a name that is not here raises."""


class MetricError(LineageError):
    """A metric is used that the table does not have, or with the wrong labels."""


class Tally:
    """A counter or a gauge with its labels fixed; adding costs some 50 ns."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def inc(self, by: float = 1) -> None:
        """Add."""
        self.value += by

    def set(self, value: float) -> None:
        """Say what it is now; for gauges."""
        self.value = value


class Distribution:
    """A histogram with its labels fixed; observing costs some 200 ns."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value, in the unit of the metric's name."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Meter:
    """The metrics of one process. On a hot path take the handle once (`counter`, `gauge`, `histogram`) and keep it."""

    __slots__ = ("_distributions", "_tallies", "process")

    def __init__(self, process: str) -> None:
        self.process = process
        self._tallies: dict[str, dict[Labels, Tally]] = {}
        self._distributions: dict[str, dict[Labels, Distribution]] = {}

    def counter(self, name: str, *labels: str) -> Tally:
        """Return the tally of a counter for these label values, in the table's order."""
        return self._tally(name, "counter", labels)

    def gauge(self, name: str, *labels: str) -> Tally:
        """Return the tally of a gauge."""
        return self._tally(name, "gauge", labels)

    def histogram(self, name: str, *labels: str) -> Distribution:
        """Return the distribution of a histogram."""
        series = self._distributions.setdefault(name, {})
        found = series.get(labels)
        if found is None:
            definition = _definition(name, "histogram", labels)
            labels = _bounded(series, labels)
            found = series.setdefault(labels, Distribution(definition.buckets))
        return found

    def inc(self, name: str, labels: Labels = (), by: float = 1) -> None:
        """Add to a counter."""
        self._tally(name, "counter", labels).value += by

    def set(self, name: str, value: float, labels: Labels = ()) -> None:
        """Set a gauge."""
        self._tally(name, "gauge", labels).value = value

    def observe(self, name: str, seconds: float, labels: Labels = ()) -> None:
        """Count a value in a histogram."""
        self.histogram(name, *labels).observe(seconds)

    def _tally(self, name: str, kind: str, labels: Labels) -> Tally:
        series = self._tallies.setdefault(name, {})
        found = series.get(labels)
        if found is None:
            _definition(name, kind, labels)
            labels = _bounded(series, labels)
            found = series.setdefault(labels, Tally())
        return found

    def snapshot(self) -> dict[str, Any]:
        """Return everything counted so far, as JSON-able values."""
        tallies = [
            {"name": name, "labels": labels, "value": tally.value}
            for name, series in self._tallies.items()
            for labels, tally in series.items()
        ]
        distributions = [
            {"name": name, "labels": labels, "counts": list(item.counts), "sum": item.total}
            for name, series in self._distributions.items()
            for labels, item in series.items()
        ]
        return {"process": self.process, "at": time.time(), "tallies": tallies, "distributions": distributions}

    def write(self, directory: Path) -> None:
        """Write the snapshot to `<directory>/<process>.json`, whole or not at all."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = directory / f".{self.process}.{os.getpid()}"
        temporary.write_bytes(orjson.dumps(self.snapshot()))
        temporary.replace(directory / f"{self.process}.json")


async def keep_snapshots(meter: Meter, directory: Path, *, seconds: float = 1.0) -> None:
    """Write the meter's snapshot again and again until cancelled. A full disk costs the snapshot, never the process."""
    while True:
        with suppress(OSError):
            meter.write(directory)
        await asyncio.sleep(seconds)


def load_snapshots(directory: Path, *, stale: float = STALE_SECONDS) -> list[dict[str, Any]]:
    """Return the snapshots of the processes that are alive, by process; unreadable and stale files are left out."""
    snapshots = []
    for path in sorted(directory.glob("*.json")):
        try:
            snapshot = orjson.loads(path.read_bytes())
            fresh = time.time() - snapshot["at"] <= stale
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if fresh:
            snapshots.append(snapshot)
    return snapshots


def values(snapshots: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    """The values of a counter or gauge in all snapshots, each of its series for itself."""
    return [item["value"] for snapshot in snapshots for item in snapshot["tallies"] if item["name"] == name]


def render(snapshots: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the snapshots in Prometheus's text format, each series with the label `process`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshots(list(snapshots)))
    return generate_latest(registry)


class _Snapshots(Collector):
    def __init__(self, snapshots: list[Mapping[str, Any]]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterable[Metric]:
        for name, definition in METRICS.items():
            labels = [*definition.labels, "process"]
            family: Any
            if definition.kind == "histogram":
                family = HistogramMetricFamily(name, definition.help, labels=labels)
                for values, item in self._series("distributions", name):
                    family.add_metric(
                        values, buckets=_cumulative(definition.buckets, item["counts"]), sum_value=item["sum"]
                    )
            else:
                kind = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
                family = kind(name, definition.help, labels=labels)
                for values, item in self._series("tallies", name):
                    family.add_metric(values, item["value"])
            yield family

    def _series(self, part: str, name: str) -> Iterable[tuple[list[str], Mapping[str, Any]]]:
        for snapshot in self._snapshots:
            for item in snapshot[part]:
                if item["name"] == name:
                    yield [*item["labels"], snapshot["process"]], item


def _cumulative(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    rows = []
    running = 0
    for bound, count in zip([*map(repr, bounds), "+Inf"], counts, strict=True):
        running += count
        rows.append((bound, float(running)))
    return rows


def _definition(name: str, kind: str, labels: Labels) -> Definition:
    definition = METRICS.get(name)
    if definition is None or definition.kind != kind:
        raise MetricError(f"there is no {kind} {name!r} in the table of metrics")
    if len(labels) != len(definition.labels):
        raise MetricError(f"{name} takes the labels {definition.labels}")
    return definition


def _bounded(series: Mapping[Labels, object], labels: Labels) -> Labels:
    return labels if len(series) < MAX_SERIES else tuple("other" for _ in labels)
