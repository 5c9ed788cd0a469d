"""What the supervisor itself has to say to the log: a configuration that was refused."""

from __future__ import annotations

import secrets

from cordon.acting import stamp
from cordon.config import Config
from lineage.client import LogClient
from lineage.paths import Paths
from lineage.record import encode


async def report_refused(config: Config, problem: str) -> None:
    """Raise an alert: a changed configuration cannot be used and the one before stays; LogUnavailable."""
    now = stamp()
    record = now.head("alert.raised") | {
        "alert": f"alert-{secrets.token_hex(10)}",
        "detector": "configuration",
        "severity": "medium",
        "tenant": "",
        "subject_type": "gateway",
        "subject": "configuration",
        "summary": f"The changed configuration was refused, the one before stays: {problem}"[:300],
        "evidence": [],
        "count": 1,
        "since": now.at,
        "until": now.at,
    }
    client = await LogClient.connect(Paths(config.data_dir).socket)
    try:
        await client.append(encode(record))
    finally:
        await client.close()
