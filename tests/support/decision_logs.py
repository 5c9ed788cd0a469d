"""A log with decisions in it and what delivers them, in this process: the real stores, source, sinks and cursor."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from gateway.settings import Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from lineage.keys import load_log_keys, load_master_key
from lineage.metrics import Meter
from lineage.paths import Paths, make_private
from lineage.side import TenantKeys, blob_digest, seal
from lineage.side_place import SidePlace
from lineage.state import open_state
from policies.admission import Admission, admit_now
from policies.bundle import load_bundle
from policies.settings import Policy
from policies.verdicts import Verdicts
from siem.decision_logs.delivery import Cursor, Delivery
from siem.decision_logs.file_sink import FileSink
from siem.decision_logs.http_sink import HttpSink
from siem.decision_logs.running import open_source
from siem.decision_logs.settings import DecisionLog
from siem.decision_logs.sink import Sink
from siem.decision_logs.source import Batch
from tests.support import records
from tests.support.followed import StoreLog
from tests.support.policies import MINIMAL, bundle, write

LONG_AGO = 1_700_000_000_000
"""Time of records whose inputs nobody waits for, in ms since the epoch."""


@cache
def _admitted(files: tuple[tuple[str, str], ...]) -> Admission:
    return admit_now(bundle(dict(files)), Policy())


class World:
    """A data directory with a log, a side store and a bundle. `begin` opens the log again, as after a crash."""

    def __init__(self, directory: Path, files: Mapping[str, str] = MINIMAL) -> None:
        self.data_dir = directory / "var"
        make_private(self.data_dir)
        make_private(Paths(self.data_dir).run)
        load_log_keys(self.data_dir, "cordon.test")
        self.policy = Policy(bundle=write(directory / "bundle", files), reload_seconds=0.01)
        self.admit(files)
        self.log = StoreLog(Paths(self.data_dir).log)
        self.state = open_state(self.data_dir / "cordon.db")
        self.meter = Meter("test")
        self._calls = 0

    def admit(self, files: Mapping[str, str]) -> None:
        """Have the bundle's verdict remembered, so that each process of tests examines it once."""
        verdict = _admitted(tuple(sorted(files.items())))
        if verdict.bundle is not None:
            Verdicts(Paths(self.data_dir).run / "admitted").write(load_bundle(self.policy.bundle), self.policy, verdict)

    def keep(self, document: object, tenant: str = "acme") -> str:
        """Keep an input beside the log as a worker does; the digest that a record names."""
        with closing(SidePlace(self.data_dir).side()) as side:
            keys = TenantKeys(side, load_master_key(self.data_dir))
            blob = seal(keys.get(tenant), tenant, orjson.dumps(document))
            side.save([(time.time_ns() // 1_000_000, blob)])
            keys.close()
        return blob_digest(blob)

    def decide(self, document: object = None, *, count: int = 1, at: int = LONG_AGO) -> list[str]:
        """So many allowed calls, with this input where it is one; the decisions' ids."""
        side = {"side": self.keep(document)} if document is not None else {}
        ids = []
        for _ in range(count):
            self._calls += 1
            call = f"01JD{self._calls:022}"
            ids.append(f"{call}-{self.log.put(records.intent(at, call=call, **side))}")
        return ids

    def batch(self, start: int = 0, *, patient: bool = True) -> Batch:
        """What the source makes of the log from there on."""
        with closing(open_source(self.data_dir, "", self.policy, patient=patient)) as source:
            return source.batch(start)

    def events(self) -> list[dict[str, Any]]:
        """The events of the whole log."""
        return [orjson.loads(entry.line) for entry in self.batch().entries]

    def cursor(self, name: str = "siem") -> Cursor:
        """A destination's cursor."""
        return Cursor(self.state, name, lambda _: None)

    def count(self, name: str, *labels: str) -> float:
        """What a metric of decision logs stands at."""
        return self.meter._tally(f"cordon_decision_log_{name}", "counter" if "total" in name else "gauge", labels).value

    def said(self) -> list[tuple[str, str]]:
        """Kind and reason of each record of decision logs."""
        kinds = ("decision_log.lost", "decision_log.back")
        return [(str(r["kind"]).rpartition(".")[2], str(r.get("reason", ""))) for r in self.log.records(*kinds)]

    @asynccontextmanager
    async def delivering(self, sink: Sink | None = None, **options: Any) -> AsyncIterator[Delivery]:
        """A delivery at work for the length of the block, with short pauses."""
        settings = DecisionLog(**{"id": "siem", "min_delay_seconds": 0.01, "max_delay_seconds": 0.05, **options})
        sweep = Sweep(0.02)
        pool = UpstreamPool(Limits(), sweep)
        stop = asyncio.Event()
        chosen = sink or (HttpSink(settings, pool) if settings.url else FileSink(settings))
        delivery = Delivery(
            settings,
            lambda: open_source(self.data_dir, "", self.policy, settings.own_labels),
            chosen,
            self.cursor(settings.id),
            self.log,
            "soc-0-x",
            self.meter,
        )
        running = asyncio.create_task(delivery.run(stop))
        try:
            yield delivery
            assert not running.done()
        finally:
            stop.set()
            await running
            await pool.close()
            sweep.close()

    def close(self) -> None:
        """Let go of log and state."""
        self.state.dispose()
        self.log.store.close()


async def until(what: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.005)


def lines(file: Path) -> list[dict[str, Any]]:
    """The events in a file, as far as its lines are whole now: somebody may be writing the next."""
    with contextlib.suppress(FileNotFoundError):
        return [orjson.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
    return []


def ids(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """Their decision ids."""
    return [event["decision_id"] for event in events]
