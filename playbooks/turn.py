"""Whose turn it is to run the SOC, where several machines share one database on PostgreSQL.

The server elects one by an advisory lock that a session of its own holds: when the session ends, however it ends, the
server gives the lock to the next who asks. And each turn has a number: what a follower stores names it, so that a turn
that is over cannot put a cursor back, even if its process was asleep meanwhile. What it may still write are records of
the log, in the moment before it notices; ids and the order of the log make those harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from psycopg.types.numeric import Int8
from sqlalchemy import BigInteger, Column, Connection, Integer, Table, select

from lineage.errors import LogUnavailable
from lineage.metrics import Meter
from lineage.postgres_session import Session
from lineage.state import metadata
from playbooks.errors import LostTurn

LOCK: Final = 0x436F7264_736F6301
"""The advisory lock of the SOC ("Cordsoc" and a one); such locks are each database's own."""
LOOK_SECONDS: Final = 0.5
"""How often a standby asks for the lock, and who has it looks whether its session is alive."""
PATIENCE: Final = 1.5
"""Longest time in s that the session may be silent. With the pause between two looks: no longer than the server takes
to let go of a machine that is gone."""
SETTLE_SECONDS: Final = 0.2
"""What the process before has sent off as it ended is in the log by then."""

TERMS: Final = Table(
    "soc_term",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("term", BigInteger, nullable=False, doc="counts turns; its one row is what a turn and its end queue on"),
)
_TAKE: Final = "UPDATE cordon_state.soc_term SET term = term + 1 WHERE id = 1 RETURNING term"

_log = structlog.get_logger("cordon.soc")


class Turn:
    """The right to run the SOC. It is lost with its session."""

    def __init__(self, session: Session, term: int) -> None:
        self._session = session
        self.term = term

    def check(self, connection: Connection) -> None:
        """Raise LostTurn unless this is still the turn, and keep it so until the transaction ends."""
        present = connection.scalar(select(TERMS.c.term).where(TERMS.c.id == 1).with_for_update(read=True))
        if present != self.term:
            raise LostTurn("another machine's SOC process has taken over; nothing was stored")

    async def keep(self) -> None:
        """Watch over the session; raises LostTurn when it is gone."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self._session.rows, "SELECT 1")
            except LogUnavailable as error:
                raise LostTurn(str(error)) from error

    def close(self) -> None:
        """Let the next one have it."""
        self._session.close()


async def take_turn(database: str, meter: Meter, stop: asyncio.Event, standing_by: Callable[[], None]) -> Turn | None:
    """Wait until no other machine runs the SOC on this database; None when told to stop before.

    Meanwhile `cordon_soc_standby` is 1, and `standing_by` was called. A server that does not answer is waited for too.
    """
    standby = meter.gauge("cordon_soc_standby")
    told = ""
    session: Session | None = None
    while not stop.is_set():
        try:
            if session is None:
                session = await asyncio.to_thread(Session, database, "cordon soc", None, PATIENCE)
            if turn := await asyncio.to_thread(_take, session):
                if standby.value:
                    await asyncio.sleep(SETTLE_SECONDS)
                    _log.info("soc_takes_over", term=turn.term)
                standby.set(0)
                return turn
            reason = "another machine's SOC process is at work; this one takes over when it ends"
        except LogUnavailable as error:
            session, reason = None, f"{error}; this one goes on waiting"
        standby.set(1)
        if reason != told:
            told = reason
            standing_by()
            _log.info("soc_standby", reason=reason)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
    if session is not None:
        session.close()
    return None


def _take(session: Session) -> Turn | None:
    """The turn, if it is free; the session is closed after an error, and with it the lock is given back."""
    try:
        if not session.rows("SELECT pg_try_advisory_lock(%b)", (Int8(LOCK),))[0][0]:
            return None
        return Turn(session, int(session.rows(_TAKE)[0][0]))
    except BaseException:
        session.close()
        raise
