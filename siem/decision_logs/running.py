"""All destinations of a configuration at work, beside the detectors of the SOC process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection, Engine

from gateway.settings import Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from lineage.keys import load_verifier
from lineage.metrics import Meter
from policies.settings import Policy
from siem.decision_logs.delivery import Cursor, Delivery, Log
from siem.decision_logs.event import Origin, path_of
from siem.decision_logs.file_sink import FileSink
from siem.decision_logs.http_sink import HttpSink
from siem.decision_logs.settings import DecisionLog
from siem.decision_logs.source import Source


def open_source(
    data_dir: Path, database: str, policy: Policy, labels: dict[str, str] | None = None, *, patient: bool = True
) -> Source:
    """The source of the log in `data_dir`, for the thread that calls this; `labels` are added to Cordon's own."""
    own = {"app": "cordon", "id": load_verifier(data_dir).name, "version": version("cordon-gateway")}
    origin = Origin(
        labels=own | (labels or {}),
        requests=path_of(policy.request_rule),
        answers=None if policy.unsafe_pass_answers else path_of(policy.response_rule),
    )
    return Source(data_dir, database, policy, origin, patient=patient)


async def deliver_all(
    destinations: Sequence[DecisionLog],
    data_dir: Path,
    database: str,
    policy: Policy,
    log: Log,
    state: Engine,
    guard: Callable[[Connection], None],
    boot: str,
    meter: Meter,
    stop: asyncio.Event,
) -> None:
    """Deliver to each destination until `stop`; none waits for another."""
    sweep = Sweep()
    pool = UpstreamPool(Limits(), sweep)
    try:
        async with asyncio.TaskGroup() as tasks:
            for each in destinations:
                delivery = Delivery(
                    each,
                    partial(open_source, data_dir, database, policy, each.own_labels),
                    HttpSink(each, pool) if each.url else FileSink(each),
                    Cursor(state, each.id, guard),
                    log,
                    boot,
                    meter,
                )
                tasks.create_task(delivery.run(stop))
    finally:
        await pool.close()
        sweep.close()
