"""Calls as the log tells them: newest first, filtered, one page at a time.

The log has no index of its contents, so a page is found by looking back through a bounded number of records; where the
bound is met first, the page says from where to go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from lineage.control import ControlState
from lineage.reader import LogReader
from lineage.record import call_time
from siem.console.errors import NotFound

Verdict = Literal["allowed", "blocked", "failed", "cut", "refused"]
VERDICTS: Final[tuple[Verdict, ...]] = ("allowed", "blocked", "failed", "cut", "refused")
STRETCH: Final = 1_000
LONGEST_CALL: Final = 500_000
"""Records between a call's beginning and its end that are looked through for all of its records."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which calls are wanted; an empty text wants any."""

    tenant: str = ""
    principal: str = ""
    route: str = ""
    verdict: str = ""

    def takes(self, call: Call) -> bool:
        """Whether the call is wanted."""
        wanted = ((self.tenant, call.tenant), (self.principal, call.principal), (self.route, call.route))
        return all(not want or want == has for want, has in wanted) and self.verdict in {"", call.verdict}


@dataclass(frozen=True, slots=True)
class Call:
    """How one call ended. `index` is that of the record that says so; `at` is ms since the epoch, `ms` the duration.

    Calls without an identity are added up by the gateway: then `call` is empty and `count` more than one call perhaps.
    """

    index: int
    call: str
    at: int
    verdict: str
    status: int
    tenant: str = ""
    principal: str = ""
    route: str = ""
    endpoint: str = ""
    method: str = ""
    path: str = ""
    model: str = ""
    stage: str = ""
    ms: int = 0
    count: int = 1
    policy: str = ""
    findings: Mapping[str, int] = field(default_factory=dict)
    redacted: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Some calls, newest first, and the index before which the next page begins; None: there is nothing older."""

    calls: list[Call]
    before: int | None


def newest(reader: LogReader, wanted: Filter, *, before: int | None, limit: int, scan: int) -> Page:
    """Up to `limit` calls that ended before log index `before` (None: the newest), from at most `scan` records."""
    end = reader.size() if before is None else max(0, min(before, reader.size()))
    lowest = max(0, end - scan)
    calls: list[Call] = []
    for index, record in _ends(reader, lowest, end):
        call = _call(reader, index, record)
        if not wanted.takes(call):
            continue
        calls.append(call)
        if len(calls) == limit:
            return Page(calls, index if index else None)
    return Page(calls, lowest or None)


def records_of(reader: LogReader, call: str, *, limit: int = 100) -> list[tuple[int, dict[str, Any]]]:
    """All records of one call with their indexes, in order; empty for an unknown one.

    The id tells when the call began, so the search starts there and ends at the last attempt's outcome. Raises
    RecordError for what is no call id.
    """
    size = reader.size()
    start = _first_at(reader, call_time(call) - 2_000, size)
    needle = f'"call":"{call}"'.encode()
    found: list[tuple[int, dict[str, Any]]] = []
    for low in range(start, min(size, start + LONGEST_CALL), STRETCH):
        for index, data in reader.source.search(needle, low, min(size, low + STRETCH)):
            record = orjson.loads(data)
            if record.get("call") == call:
                found.append((index, record))
                if _is_end(record) or len(found) >= limit:
                    return found
    return found


def record_at(reader: LogReader, control: ControlState, index: int) -> dict[str, Any]:
    """The log's record at this index; `NotFound` where there is none, or none any more."""
    rows = reader.read(index, 1) if 0 <= index < 2**53 else []
    if not rows or rows[0][0] != index:
        if 0 <= index < control.pruned:
            raise NotFound("The record at this index was pruned for its age.")
        raise NotFound("The log has no record at this index.")
    value: dict[str, Any] = orjson.loads(rows[0][1])
    return value


def _ends(reader: LogReader, lowest: int, end: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Records that end a call, from `end` back to `lowest`."""
    while end > lowest:
        start = max(lowest, end - STRETCH)
        for index, data in reversed(reader.source.search(b'"kind":"call.', start, end)):
            if b'"kind":"call.intent"' in data:
                continue
            record = orjson.loads(data)
            if _is_end(record):
                yield index, record
        end = start


def _is_end(record: Mapping[str, Any]) -> bool:
    kind = record.get("kind")
    return kind == "call.refused" or (kind == "call.outcome" and record.get("final") is not False)


def _call(reader: LogReader, index: int, record: Mapping[str, Any]) -> Call:
    intent = _intent(reader, record)
    refused = record["kind"] == "call.refused"
    return Call(
        index=index,
        call=record.get("call", ""),
        at=record["at"],
        verdict="refused" if refused else record.get("verdict", ""),
        status=record.get("status", 401),
        tenant=record.get("tenant", ""),
        principal=record.get("principal", ""),
        route=record.get("route", ""),
        endpoint=record.get("endpoint", ""),
        method=record.get("method") or intent.get("method", ""),
        path=record.get("path") or intent.get("path", ""),
        model=record.get("model") or intent.get("model", ""),
        stage=record.get("stage", ""),
        ms=record.get("ms", 0),
        count=record.get("count", 1),
        policy=record.get("policy", ""),
        findings=_added(intent.get("findings", {}), record.get("findings", {})),
        redacted={**intent.get("redacted", {}), **record.get("redacted", {})},
        reasons=reasons_of(record),
    )


def _intent(reader: LogReader, record: Mapping[str, Any]) -> dict[str, Any]:
    """What an outcome answers to: it knows the method and path that the outcome does not repeat."""
    index = record.get("intent")
    if type(index) is not int or index < 0:
        return {}
    rows = reader.read(index, 1)
    intent: dict[str, Any] = orjson.loads(rows[0][1]) if rows and rows[0][0] == index else {}
    return intent if intent.get("call") == record.get("call") else {}


def _added(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in sorted({*first, *second})}


def reasons_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Why a call was not let through, in words, as its last record says."""
    if reason := record.get("reason"):
        source = record.get("source")
        return (f"{reason} from {source}" if source else str(reason),)
    return tuple(
        reason if isinstance(reason, str) else reason.get("detail") or reason.get("rule") or reason.get("code") or ""
        for reason in record.get("reasons", ())
    )


def _first_at(reader: LogReader, at: int, size: int) -> int:
    """An index before which all records are older than `at` (ms), give or take clocks that differ by little."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        rows = reader.read(middle, 1)
        if rows and orjson.loads(rows[0][1])["at"] < at:
            low = middle + 1
        else:
            high = middle
    return low
