"""The destinations of decision logs: whether a collector answers and takes the token, whether a file can be written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from typing import Any

from cordon.config import Config
from cordon.doctor.finding import Finding, fail, ok, warn
from gateway.settings import Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from lineage.metrics import load_snapshots
from lineage.paths import Paths
from siem.decision_logs.http_sink import HttpSink
from siem.decision_logs.settings import DecisionLog
from siem.decision_logs.sink import Undelivered

SECONDS = 3.0
LAG_SECONDS = 300.0
CHECK = "decision logs"
_REMEDY = "events wait in the log meanwhile; see that it runs, and its url, ca and credential"


def examine_decision_logs(config: Config) -> Iterator[Finding]:
    """Each destination. No event is sent, and no file is made."""
    snapshots = load_snapshots(Paths(config.data_dir).metrics) if config.decision_logs else []
    if config.decision_logs and not config.policy.push:
        text = "the bundle is the OPA server's own, so its masks are not known here: events go without input and result"
        yield warn(CHECK, text, "put the bundle into policy.bundle and set policy.push: true, to have them")
    for each in config.decision_logs:
        yield asyncio.run(_collector(each)) if each.url else _file(each)
        lag = _lag(snapshots, each.id)
        if lag > LAG_SECONDS:
            yield warn(CHECK, f"{each.id} lacks events that are {lag:,.0f} s old", "see the metrics and the records")


async def _collector(settings: DecisionLog) -> Finding:
    sweep = Sweep()
    pool = UpstreamPool(Limits(), sweep)
    name = f"{settings.id}: {settings.url}"
    try:
        status = await HttpSink(settings.model_copy(update={"timeout_seconds": SECONDS}), pool).reach()
    except TimeoutError:
        return fail(CHECK, f"{name} did not answer within {SECONDS:g} s", _REMEDY)
    except Undelivered as error:
        return fail(CHECK, f"{name}: {error}", _REMEDY)
    finally:
        await pool.close()
        sweep.close()
    if status in (401, 403):
        return fail(CHECK, f"{name} refuses the token ({status})", "renew the secret that credential points to")
    return ok(CHECK, f"{name} answers")


def _file(settings: DecisionLog) -> Finding:
    assert settings.file is not None
    there = settings.file if settings.file.exists() else settings.file.parent
    if not os.access(there, os.W_OK):
        return fail(CHECK, f"{settings.id}: {there} cannot be written", "make it, or give Cordon's user the right")
    return ok(CHECK, f"{settings.id}: {settings.file} can be written")


def _lag(snapshots: list[dict[str, Any]], destination: str) -> float:
    """The largest lag in seconds that a process tells."""
    tallies: Iterator[Mapping[str, Any]] = (tally for snapshot in snapshots for tally in snapshot["tallies"])
    return max(
        (
            tally["value"]
            for tally in tallies
            if tally["name"] == "cordon_decision_log_lag_seconds" and tally["labels"] == [destination]
        ),
        default=0.0,
    )
