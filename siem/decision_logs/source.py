"""Reads the log on from a place and makes the events of what it finds there, masked and encoded.

All of it happens in one thread, which the engine and the connections belong to; the SOC's event loop has other things
to do than to evaluate masks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from detectors import peek
from lineage.bundles import BundleStore
from lineage.kept import Load, kept_inputs
from lineage.paths import Paths
from lineage.reader import LogReader, open_reader
from lineage.record import decode
from lineage.side_place import SidePlace
from policies.opa.wire import ServerError
from policies.settings import Policy
from siem.decision_logs.event import KINDS, Event, Origin, Record, event_of
from siem.decision_logs.mask import HIDDEN, apply
from siem.decision_logs.rolled_out import RolledOutRules
from siem.decision_logs.rules import RulesInForce
from siem.decision_logs.sink import Entry

RECORDS: Final = 1_000
"""Records read at once."""
BYTES: Final = 8_388_608
"""Bytes of events after which a batch ends, though there are more records."""
PATIENCE_MS: Final = 5_000
"""How long after its record an input is waited for: it is written beside the commit, and may come after it."""
_KEY_SECONDS: Final = 5.0


@dataclass(slots=True)
class Batch:
    """What lies in the log between two places. `next` is the place to read on from, once these events are delivered.

    `oldest` is the time of the first event (ms since the epoch), 0 where there is none; `more` says that there may be
    more to read at once.
    """

    next: int
    size: int
    entries: list[Entry] = field(default_factory=list)
    oldest: int = 0
    masked: int = 0
    dropped: int = 0
    more: bool = False


class Source:
    """Opened and used in one thread. `patient`: whether inputs that may still come are waited for."""

    def __init__(self, data_dir: Path, database: str, policy: Policy, origin: Origin, *, patient: bool = True) -> None:
        self._origin = origin
        self._patient = patient
        self._rules = RulesInForce(policy, Paths(data_dir).run)
        with ExitStack() as opened:
            opened.callback(self._rules.close)
            self.reader: LogReader = opened.enter_context(open_reader(data_dir, database))
            side = opened.enter_context(closing(SidePlace(data_dir, database).side()))
            self._rolled_out = RolledOutRules(
                policy, Paths(data_dir).run, lambda: self.reader.control().rollouts, BundleStore(side).get
            )
            opened.callback(self._rolled_out.close)
            self._load: Load = opened.enter_context(kept_inputs(data_dir, database, seconds=_KEY_SECONDS))
            self.close: Callable[[], None] = opened.pop_all().close

    def batch(self, start: int) -> Batch:
        """What lies from index `start` on; LogUnavailable where log or inputs cannot be read.

        ServerError where nothing of it can go out before the OPA server says what to mask.
        """
        self._rules.refresh()
        self._rolled_out.refresh()
        found = Batch(start, self.reader.size())
        records = self.reader.read(start, RECORDS)
        held = 0
        for index, data in records:
            if held >= BYTES:
                found.more = True
                return found
            if peek.kind(data) in KINDS:
                try:
                    entry, complete = self._entry(index, decode(data), found)
                except ServerError:
                    if found.next == start:
                        raise
                    return found  # what can go out goes out first
                if not complete:
                    return found
                if entry is not None:
                    found.entries.append(entry)
                    held += len(entry.line)
            found.next = index + 1
        found.more = len(records) == RECORDS
        return found

    def _entry(self, index: int, record: Record, found: Batch) -> tuple[Entry | None, bool]:
        """The entry of a record, None where it has none; and whether it could be made already."""
        event = event_of(index, record, self._origin)
        if event is None:
            return None, True
        at = record.get("at")
        at = at if isinstance(at, int) else 0
        if not self._add_input(event, record, at):
            return None, False
        dropped, masked = self._rules.apply(event, self._rolled_out.of(record, self._rules.revision))
        found.dropped += dropped
        if dropped:
            return None, True
        found.masked += masked
        found.oldest = found.oldest or at
        return Entry(index, _encoded(event)), True

    def _add_input(self, event: Event, record: Record, at: int) -> bool:
        """Add what policy was shown, or say that it is gone; False where it may still come."""
        side = record.get("side")
        kept = self._load(str(record.get("tenant", "")), side) if isinstance(side, str) and side else None
        if kept is not None:
            try:
                event["input"] = orjson.loads(kept)
            except orjson.JSONDecodeError:
                event["erased"] = ["/input"]
            return True
        if side and self._patient and abs(time.time_ns() // 1_000_000 - at) < PATIENCE_MS:
            return False
        event["erased"] = ["/input"]
        return True


def _encoded(event: Event) -> bytes:
    """The event as JSON; one that is nested too deeply goes without what may be nested."""
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:
        apply(event, HIDDEN)
        return orjson.dumps(event)
