"""What consumers want written, each thing once.

An emission waits here until it is committed. One whose record turns up in the log (written before a crash, or by an
append whose acknowledgement was lost) is struck out. So nothing may be written before the log has been read as far as
it went when writing was last in doubt: at the start, and after a failed append. The follower sees to that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import Protocol

import structlog

from detectors.consumer import ID_FIELDS, Emission
from detectors.detector import parse, text
from lineage.errors import LogUnavailable, RecordError
from lineage.metrics import Meter
from lineage.record import encode

_log = structlog.get_logger("cordon.detectors")


class Log(Protocol):
    """Where records are appended; `LogClient` is one."""

    def append(self, record: bytes) -> Awaitable[int]:
        """Append a record; yields its index once it is committed, or raises LogUnavailable."""


class Outbox:
    """Emissions in the order in which they came, by kind and id. `boot` is the life of the process that writes them."""

    def __init__(self, log: Log, boot: str, meter: Meter) -> None:
        self._meter = meter
        self._log = log
        self._boot = boot
        self._waiting: dict[tuple[bytes, str], Emission] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, emissions: Iterable[Emission]) -> None:
        """Add emissions; one that waits already stays as it is."""
        for emission in emissions:
            self._waiting.setdefault((emission.kind, emission.id), emission)

    def strike_out(self, kind: bytes, record: bytes) -> None:
        """This record is in the log: whoever wanted it written has what they wanted."""
        if self._waiting and kind in ID_FIELDS:
            self._waiting.pop((kind, text(parse(record), ID_FIELDS[kind])), None)

    async def flush(self) -> bool:
        """Append all that waits; False when the log could not take something, which then goes on waiting."""
        if not self._waiting:
            return True
        now = time.time_ns() // 1_000_000
        keys: list[tuple[bytes, str]] = []
        appends: list[Awaitable[int]] = []
        for key, emission in list(self._waiting.items()):
            record = self._encoded(emission, now)
            if record is None:
                del self._waiting[key]
            else:
                keys.append(key)
                appends.append(self._log.append(record))
        return self._settle(keys, await asyncio.gather(*appends, return_exceptions=True))

    def _encoded(self, emission: Emission, now: int) -> bytes | None:
        fields = emission.decide(now)
        if fields is None:
            return None
        head = {"v": 1, "kind": emission.kind.decode(), "at": now, "boot": self._boot}
        try:
            return encode({**head, **fields})
        except RecordError as error:
            _log.error("emission_unfit", kind=head["kind"], id=emission.id, problem=str(error))
            return None

    def _settle(self, keys: Sequence[tuple[bytes, str]], results: Sequence[int | BaseException]) -> bool:
        written = True
        for key, result in zip(keys, results, strict=True):
            if isinstance(result, LogUnavailable):
                written = False
            elif isinstance(result, BaseException):
                raise result
            else:
                self._waiting.pop(key, None)
                self._meter.inc("cordon_follower_written_total", (key[0].decode(),))
        return written
