"""The table of alerts, projected from the log for the console; what people make of an alert is kept beside it.

The log says that an alert was raised and why; whether somebody is looking at it is not evidence and lives here alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import orjson
from sqlalchemy import BigInteger, Column, Engine, Executable, Index, Row, Table, delete, select, update

from detectors.alert import MOST_EVIDENCE
from detectors.consumer import Consumer, Emission
from detectors.detector import number, parse, text
from lineage.state import Text, insert, metadata

AlertState = Literal["open", "acknowledged", "closed"]
MOST_ALERTS = 100_000

table = Table(
    "alerts",
    metadata,
    Column("id", Text(64), primary_key=True),
    Column("log_index", BigInteger, nullable=False),
    Column("raised_at", BigInteger, nullable=False, doc="ms since the epoch"),
    Column("detector", Text(64), nullable=False),
    Column("severity", Text(16), nullable=False),
    Column("tenant", Text(64), nullable=False),
    Column("subject_type", Text(16), nullable=False),
    Column("subject", Text(128), nullable=False),
    Column("summary", Text(300), nullable=False),
    Column("evidence", Text(2048), nullable=False, doc="log indexes, a JSON array"),
    Column("count", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False, doc="ms since the epoch"),
    Column("until", BigInteger, nullable=False, doc="ms since the epoch"),
    Column("state", Text(16), nullable=False, default="open"),
    Column("changed_by", Text(128), nullable=False, default=""),
    Column("changed_at", BigInteger, nullable=False, default=0, doc="ms since the epoch"),
    Index("alerts_by_log_index", "log_index"),
)

_LENGTHS = {column.name: column.type.length for column in table.columns if isinstance(column.type, Text)}
"""PostgreSQL refuses a longer text, and with it all that is stored together."""


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert as the console lists it; times are ms since the epoch, `evidence` are log indexes."""

    id: str
    log_index: int
    raised_at: int
    detector: str
    severity: str
    tenant: str
    subject_type: str
    subject: str
    summary: str
    evidence: tuple[int, ...]
    count: int
    since: int
    until: int
    state: AlertState
    changed_by: str
    changed_at: int


class AlertTable(Consumer):
    """Puts every alert of the log into the table, once; the oldest beyond `MOST_ALERTS` go."""

    name = "alert_table"
    kinds = frozenset({b"alert.raised"})
    whole_log = True

    def __init__(self) -> None:
        self._rows: list[dict[str, object]] = []

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Take in one alert."""
        facts = parse(record)
        texts = ("detector", "severity", "tenant", "subject_type", "subject", "summary")
        numbers = ("count", "since", "until")
        self._rows.append(
            {"id": text(facts, "alert")[: _LENGTHS["id"]], "log_index": index, "raised_at": number(facts, "at")}
            | {name: text(facts, name)[: _LENGTHS[name]] for name in texts}
            | {name: number(facts, name) for name in numbers}
            | {"evidence": orjson.dumps(_indexes(facts.get("evidence"))).decode()}
        )
        return ()

    def writes(self) -> Sequence[Executable]:
        """Insert the new ones, leaving those that are there as people left them."""
        if not self._rows:
            return ()
        rows, self._rows = self._rows, []
        last_kept = select(table.c.log_index).order_by(table.c.log_index.desc()).limit(1).offset(MOST_ALERTS - 1)
        return (
            *(insert(table).values(row).on_conflict_do_nothing() for row in rows),
            delete(table).where(table.c.log_index < last_kept.scalar_subquery()),
        )


def list_alerts(
    engine: Engine, *, limit: int = 100, before: int | None = None, state: AlertState | None = None, tenant: str = ""
) -> list[AlertRow]:
    """The newest alerts first, those with a log index below `before`, of one state or tenant where these are given."""
    query = select(table).order_by(table.c.log_index.desc()).limit(limit)
    if before is not None:
        query = query.where(table.c.log_index < before)
    if state is not None:
        query = query.where(table.c.state == state)
    if tenant:
        query = query.where(table.c.tenant == tenant)
    with engine.connect() as connection:
        return [_row(row) for row in connection.execute(query)]


def find_alert(engine: Engine, alert: str) -> AlertRow | None:
    """The alert with this id."""
    with engine.connect() as connection:
        row = connection.execute(select(table).where(table.c.id == alert)).first()
    return None if row is None else _row(row)


def set_state(engine: Engine, alert: str, state: AlertState, *, by: str, at: int) -> bool:
    """Note what a person (`by`) made of an alert at `at` (ms since the epoch); False where there is no such alert."""
    change = update(table).where(table.c.id == alert).values(state=state, changed_by=by, changed_at=at)
    with engine.begin() as connection:
        return connection.execute(change).rowcount == 1


def _indexes(evidence: object) -> list[int]:
    """The log indexes in an alert's evidence, whatever else a record may hold there, and however many."""
    return [index for index in evidence if type(index) is int][:MOST_EVIDENCE] if isinstance(evidence, list) else []


def _row(row: Row[tuple[object, ...]]) -> AlertRow:
    values = dict(row._mapping)
    values["evidence"] = tuple(cast("list[int]", orjson.loads(str(values["evidence"]))))
    return AlertRow(**values)
