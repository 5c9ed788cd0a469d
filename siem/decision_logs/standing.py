"""How far each destination is: for the status page and `cordon doctor`, from its cursor and the log themselves.

So it is also known while no SOC process runs, and of a collector that takes a question and refuses events.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Engine, Row, select
from sqlalchemy.exc import SQLAlchemyError

from detectors import peek
from detectors.follower import Reader, places
from siem.decision_logs.event import KINDS
from siem.decision_logs.settings import DecisionLog

PREFIX: Final = "decision-log:"
"""What the names of destinations' cursors begin with in the followers' table."""
LATE_SECONDS: Final = 300.0
"""From this age of the oldest waiting event on, somebody should look."""
SCAN: Final = 200
"""Records behind the cursor among which the oldest event is looked for."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a destination is.

    `behind`: records of the log that it is not past, most of which may be no events. `age_seconds`: age of the oldest
    of them that may be an event; 0 where none waits. `lost`: why deliveries fail, one of `FAULTS`; empty while they
    do not. `begun`: whether anything was ever delivered to it, or tried.
    """

    destination: str
    begun: bool
    behind: int
    age_seconds: float
    lost: str

    @property
    def late(self) -> bool:
        """Whether it lacks what it should have had long ago."""
        return self.age_seconds > LATE_SECONDS


def standings(destinations: Sequence[DecisionLog], state: Engine, reader: Reader) -> list[Standing]:
    """Where each destination is; LogUnavailable where the log cannot be read.

    A state database without the table is one where nothing was delivered yet.
    """
    found = _cursors(state) if destinations else {}
    size = reader.size() if destinations else 0
    return [_standing(each, found.get(PREFIX + each.id), reader, size) for each in destinations]


def _cursors(state: Engine) -> dict[str, tuple[int, str]]:
    with suppress(SQLAlchemyError), state.connect() as connection:
        rows = connection.execute(select(places).where(places.c.name.startswith(PREFIX, autoescape=True)))
        return {row.name: cursor_of(row) for row in rows}
    return {}


def cursor_of(row: Row[Any]) -> tuple[int, str]:
    """The place of a destination, and why it loses (empty: it does not), as its row in `places` has them."""
    return row.next_index, str(orjson.loads(row.snapshot).get("lost", ""))


def _standing(settings: DecisionLog, cursor: tuple[int, str] | None, reader: Reader, size: int) -> Standing:
    if cursor is None:
        place, lost = size if settings.begin == "now" else 0, ""
    else:
        place, lost = min(cursor[0], size), cursor[1]
    return Standing(settings.id, cursor is not None, size - place, age_at(reader, place), lost)


def age_at(reader: Reader, place: int) -> float:
    """The age in seconds of the first record from `place` on that may be an event; 0 where none is near."""
    oldest = next((data for _, data in reader.read(place, SCAN) if peek.kind(data) in KINDS), None)
    return 0.0 if oldest is None else max(0.0, time.time() - peek.at(oldest) / 1000)
