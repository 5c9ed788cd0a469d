"""How the installation is doing, for the status page and the probes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from lineage.errors import LineageError
from lineage.keys import load_verifier
from lineage.metrics import load_snapshots
from lineage.note import open_checkpoint
from lineage.paths import Paths
from siem.console.deps import Deps
from siem.decision_logs.standing import Standing, standings

ALIVE_MS: Final = 5_000
SHOWN_SECONDS: Final = 900.0
STANDBY: Final = frozenset({"cordon_log_standby", "cordon_soc_standby"})


@dataclass(frozen=True, slots=True)
class Process:
    """One process that measures itself; alive if it did so within the last seconds.

    `calls`, `handshakes` (TLS handshakes of clients that failed), `decisions` that the embedded engine was asked for,
    and those of them that it `remembered`, are counted from its start.
    `standby`: another machine's process has the turn to do what only one may do.
    """

    name: str
    age_ms: int
    alive: bool
    calls: int
    handshakes: int
    standby: bool
    decisions: int
    remembered: int

    @property
    def soc(self) -> bool:
        """Whether it is the one that detects and contains."""
        return self.name.startswith("soc")

    @property
    def gateway(self) -> bool:
        """Whether it is a worker of the data plane."""
        return self.name.startswith("gateway")


@dataclass(frozen=True, slots=True)
class LogState:
    """The log as it can be read here. `verified`: the newest checkpoint bears the log's own signature.

    That says who signed it, not that the records fit: `cordon log verify` does.
    """

    size: int
    checkpoint: int | None
    origin: str
    verified: bool
    problem: str


def processes(deps: Deps) -> list[Process]:
    """Processes that reported within the last quarter of an hour, by name."""
    now = time.time()
    found = load_snapshots(Paths(deps.data_dir).metrics, stale=SHOWN_SECONDS)
    return [_process(snapshot, max(0, int((now - snapshot["at"]) * 1000))) for snapshot in found]


def log_state(deps: Deps) -> LogState:
    """Size, newest checkpoint and whether its signature is right."""
    size, note = deps.reader.size(), deps.reader.checkpoint()
    if note is None:
        return LogState(size, None, "", False, "")
    try:
        checkpoint = open_checkpoint(note, [load_verifier(deps.data_dir)])
    except LineageError as error:
        return LogState(size, deps.reader.checkpoint_size(), "", False, str(error))
    return LogState(size, checkpoint.size, checkpoint.origin, True, "")


def deliveries(deps: Deps) -> list[Standing]:
    """How far each destination of decision logs is, in the order of the configuration; none where the log is away."""
    try:
        return standings(deps.facts.decision_logs, deps.state, deps.reader)
    except LineageError:
        return []


def _process(snapshot: dict[str, Any], age_ms: int) -> Process:
    calls, handshakes = (_sum(snapshot, f"cordon_{name}_total") for name in ("calls", "failed_handshakes"))
    standby = any(item["name"] in STANDBY and item["value"] for item in snapshot["tallies"])
    hits, misses, passed = (
        _sum(snapshot, f"cordon_policy_cache_{name}_total") for name in ("hits", "misses", "passed")
    )
    alive, decisions = age_ms <= ALIVE_MS, hits + misses + passed
    return Process(str(snapshot["process"]), age_ms, alive, calls, handshakes, standby, decisions, hits)


def _sum(snapshot: dict[str, Any], name: str) -> int:
    return sum(int(item["value"]) for item in snapshot["tallies"] if item["name"] == name)
