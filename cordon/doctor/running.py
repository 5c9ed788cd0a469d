"""What the running workers have measured of their clients' TLS; nothing where none runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from cordon.config import Config
from cordon.doctor.finding import Finding, fail, ok
from lineage.metrics import load_snapshots
from lineage.paths import Paths


def examine_running(config: Config) -> Iterator[Finding]:
    """Handshakes that failed, by reason, and revocation lists that were not taken."""
    snapshots = load_snapshots(Paths(config.data_dir).metrics)
    if config.gateway.tls is None or not snapshots:
        return
    failed = _by_label(snapshots, "cordon_failed_handshakes_total")
    text = ", ".join(f"{reason} {count}" for reason, count in failed.most_common())
    yield ok("tls", f"{failed.total()} handshakes failed since the workers started" + (f": {text}" if text else ""))
    if _by_label(snapshots, "cordon_revocation_list_faults")["older"]:
        text = "a file of gateway.tls.crl is older than the list in force, which stays; see the alert"
        yield fail("revocation", text, "save the authority's newest list there, and find out who saved the old one")


def _by_label(snapshots: list[dict[str, Any]], name: str) -> Counter[str]:
    """The values of a metric with one label, over all processes."""
    found: Counter[str] = Counter()
    for snapshot in snapshots:
        for item in snapshot["tallies"]:
            if item["name"] == name and item["value"]:
                found[str(item["labels"][0])] += int(item["value"])
    return found
