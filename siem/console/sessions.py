"""Sessions: what a browser holds after sign-in, and how long it counts.

The cookie is 256 random bits; only its digest is stored. A session ends by sign-out, with its account, by a new
password, after the longest time, or when nobody did anything for the idle time (a page that refreshes itself does not
count as somebody).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, delete, insert, select, update

from lineage.clock import latest
from siem.console.accounts import digest
from siem.console.roles import Permission, permissions
from siem.console.tables import ACCOUNTS, SESSIONS

MOST_PER_ACCOUNT: Final = 20
TOKEN_LENGTH: Final = 43
TOUCH_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in operator, as the request's own account is now. `csrf` has to come with every unsafe request."""

    account: str
    roles: tuple[str, ...]
    permissions: frozenset[Permission]
    csrf: str
    ends_at: int

    def may(self, permission: Permission) -> bool:
        """Whether the account's roles give this permission."""
        return permission in self.permissions


class Sessions:
    """The sessions in one state database. Methods block (disk): call them from a thread."""

    def __init__(
        self,
        engine: Engine,
        *,
        longest_ms: int,
        idle_ms: int,
        clock: Callable[[], int] = latest,
    ) -> None:
        self._engine = engine
        self.longest_ms = longest_ms
        self._idle_ms = idle_ms
        self._clock = clock

    def start(self, account: str, source: str, *, password: str, record: Callable[[], object]) -> str | None:
        """A new session's token; the oldest of more than twenty ends. `record` writes it down before it counts.

        `password` is the stored hash that was checked: None if the account was disabled or got another one meanwhile.
        """
        token, now = secrets.token_urlsafe(32), self._clock()
        same = select(ACCOUNTS.c.name).where(
            ACCOUNTS.c.name == account, ACCOUNTS.c.password == password, ACCOUNTS.c.active
        )
        with self._engine.begin() as connection:
            # The first statement takes SQLite's write lock. On PostgreSQL the account's row is what its sign-ins and
            # its changes queue on: a session is begun before a change, which then ends it, or not at all.
            connection.execute(
                insert(SESSIONS).values(
                    digest=digest(token), account=account, started_at=now, seen_at=now, source=source
                )
            )
            if connection.scalar(same.with_for_update()) is None:
                connection.rollback()
                return None
            self._make_room(connection, account, now, keep=digest(token))
            record()
        return token

    def _make_room(self, connection: Connection, account: str, now: int, keep: str) -> None:
        """Delete sessions that are over, but for those that another sign-in deletes now, and the account's oldest.

        The clocks of machines differ: that a session is new is known by its digest (`keep`), not by its time.
        """
        over = (
            select(SESSIONS.c.digest)
            .where((SESSIONS.c.started_at <= now - self.longest_ms) | (SESSIONS.c.seen_at <= now - self._idle_ms))
            .where(SESSIONS.c.digest != keep)
            .with_for_update(skip_locked=True)
        )
        connection.execute(delete(SESSIONS).where(SESSIONS.c.digest.in_(over)))
        others = (SESSIONS.c.account == account, SESSIONS.c.digest != keep)
        newest = (
            select(SESSIONS.c.digest).where(*others).order_by(SESSIONS.c.started_at.desc()).limit(MOST_PER_ACCOUNT - 1)
        )
        connection.execute(delete(SESSIONS).where(*others, SESSIONS.c.digest.not_in(newest)))

    def find(self, token: str, *, active: bool) -> Session | None:
        """The session of this token, unless it has ended. `active`: a person asked, so the idle time begins anew."""
        if len(token) != TOKEN_LENGTH:
            return None
        now, key = self._clock(), digest(token)
        query = (
            select(SESSIONS, ACCOUNTS.c.roles)
            .join(ACCOUNTS, ACCOUNTS.c.name == SESSIONS.c.account)
            .where(SESSIONS.c.digest == key, ACCOUNTS.c.active)
            .where(SESSIONS.c.started_at > now - self.longest_ms, SESSIONS.c.seen_at > now - self._idle_ms)
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        if active and row.seen_at <= now - TOUCH_MS:
            with self._engine.begin() as connection:
                connection.execute(update(SESSIONS).where(SESSIONS.c.digest == key).values(seen_at=now))
        roles = tuple(row.roles.split(","))
        return Session(row.account, roles, permissions(roles), csrf_token(token), row.started_at + self.longest_ms)

    def end(self, token: str) -> None:
        """Sign out."""
        with self._engine.begin() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.digest == digest(token)))


def csrf_token(token: str) -> str:
    """Proof that a request comes from a page of the console: derived from the session, so that it needs no storage."""
    return hmac.new(token.encode("utf-8", "surrogatepass"), b"cordon console csrf", hashlib.sha256).hexdigest()
