"""Operator accounts: who may enter the control plane, how they come in, and how they are changed.

An account begins with a one-time link: the first one as long as there is no account, later ones by invitation. Every
change is one transaction: take the lock, check, write, append the record to the log, commit. So a change becomes
visible only after its record is durable; where the log does not take the record, nothing has changed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from lineage import actions
from lineage.actions import AccountChange, ActionError, Record, Stamp
from lineage.clock import latest
from siem.console.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable, invalid
from siem.console.passwords import check_password, hash_password, verify_password
from siem.console.roles import ROLES, Permission, permissions
from siem.console.tables import ACCOUNTS, CHANGES, INVITATIONS, SESSIONS

Append = Callable[[Record], int]
"""Appends a record to the log and returns its index once it is durable; raises `LogUnavailable` otherwise."""

MOST_ACCOUNTS: Final = 1_000
MOST_INVITATIONS: Final = 100
RESERVED: Final = frozenset({"cli", "one-time-link", "system", "detector"})
INVITATION_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Account:
    """One operator. `roles` are names from `roles.ROLES`; `created_at` is ms since the epoch."""

    name: str
    roles: tuple[str, ...]
    active: bool
    created_at: int

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the account may do; nothing once it is disabled."""
        return permissions(self.roles) if self.active else frozenset()


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open one-time link. `purpose` is first, join or reset; `account` is empty for the first."""

    purpose: str
    account: str
    roles: tuple[str, ...]
    invited_by: str
    expires_at: int


class Accounts:
    """The accounts in one state database. Methods block (disk, hashing): call them from a thread."""

    def __init__(
        self,
        engine: Engine,
        append: Append,
        boot: str,
        *,
        invitation_seconds: float = INVITATION_SECONDS,
        clock: Callable[[], int] = latest,
    ) -> None:
        self._engine = engine
        self._append = append
        self._boot = boot
        self._lifetime_ms = int(invitation_seconds * 1000)
        self._clock = clock

    # Reading

    def all(self) -> list[Account]:
        """All accounts by name."""
        with self._engine.connect() as connection:
            return [_account(row) for row in connection.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.name))]

    def open_invitations(self) -> list[Invitation]:
        """Links that can still be used, without their tokens."""
        query = select(INVITATIONS).where(INVITATIONS.c.used_at.is_(None), INVITATIONS.c.expires_at > self._clock())
        with self._engine.connect() as connection:
            return [_invitation(row) for row in connection.execute(query.order_by(INVITATIONS.c.created_at))]

    def invitation(self, token: str) -> Invitation:
        """What an unused link is for; `NotFound` for one that never was, was used or has expired."""
        with self._engine.connect() as connection:
            return self._usable(connection, token)

    def check(self, name: str, password: str) -> str | None:
        """The stored hash of the active account that this name and password open; None if they open none.

        Takes the same time whether or not there is such an account.
        """
        with self._engine.connect() as connection:
            row = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == name)).one_or_none()
        right = verify_password(password, row.password if row else None)
        return row.password if row and right and row.active else None

    def any(self) -> bool:
        """Whether there is an account at all."""
        with self._engine.connect() as connection:
            return connection.execute(select(ACCOUNTS.c.name).limit(1)).first() is not None

    def known(self, name: str) -> bool:
        """Whether there is an account of this name."""
        with self._engine.connect() as connection:
            return bool(connection.scalar(select(func.count()).where(ACCOUNTS.c.name == name)))

    # One-time links

    def first_link(self) -> str | None:
        """A token for the first account, in place of any earlier one; None once there is an account."""
        with self._change() as connection:
            if connection.scalar(select(func.count()).select_from(ACCOUNTS)):
                return None
            connection.execute(delete(INVITATIONS).where(INVITATIONS.c.purpose == "first"))
            return self._new_link(connection, "first", "", ("admin",), "one-time-link")

    def invite(self, name: str, roles: Iterable[str], by: str) -> str:
        """A token with which `name` can open an account with these roles."""
        chosen = _known_roles(roles)
        if name in RESERVED:
            raise Invalid(f"The name {name} is reserved.", field="account")
        with self._change() as connection:
            if self._find(connection, name):
                raise Conflict(
                    f"There is an account {name} already; make a reset link to let it choose a new password."
                )
            if (connection.scalar(select(func.count()).select_from(ACCOUNTS)) or 0) >= MOST_ACCOUNTS:
                raise Conflict(f"There are {MOST_ACCOUNTS} accounts, the most there can be.")
            return self._recorded_link(connection, "join", name, chosen, by)

    def reset_link(self, name: str, by: str) -> str:
        """A token with which the owner of `name` can choose a new password; the old one goes on until then."""
        with self._change() as connection:
            account = self._existing(connection, name)
            return self._recorded_link(connection, "reset", name, account.roles, by)

    def accept(self, token: str, name: str, password: str) -> Account:
        """Use a link up: open its account, or give it the new password. `name` counts for the first link only."""
        invitation = self.invitation(token)
        name = invitation.account or name
        if name in RESERVED:
            raise Invalid(f"The name {name} is reserved.", field="account")
        with _as_invalid():
            actions.create_account(self._stamp(), account=name, roles=(), by=name)
        hashed = hash_password(check_password(password, name))
        with self._change() as connection:
            claimed = connection.execute(
                update(INVITATIONS)
                .where(INVITATIONS.c.digest == digest(token))
                .where(INVITATIONS.c.used_at.is_(None), INVITATIONS.c.expires_at > self._clock())
                .values(used_at=self._clock())
            )
            if claimed.rowcount != 1:
                raise _spent()
            if invitation.purpose == "reset":
                return self._set_password(connection, name, hashed, by=invitation.invited_by)
            return self._open(connection, invitation, name, hashed)

    # Changing accounts

    def change_roles(self, name: str, roles: Iterable[str], by: str) -> Account:
        """Give the account these roles instead of its own; counts from its next request on."""
        chosen = _known_roles(roles)
        with self._change() as connection:
            account = self._existing(connection, name)
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(roles=",".join(chosen)))
            self._withdraw(connection, name)
            return self._changed(connection, account, "roles", by)

    def disable(self, name: str, by: str) -> Account:
        """Close the account: its sessions end at once and the links that it made are void."""
        with self._change() as connection:
            account = self._existing(connection, name)
            if not account.active:
                raise Conflict(f"The account {name} is disabled already.")
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(active=False))
            connection.execute(delete(SESSIONS).where(SESSIONS.c.account == name))
            connection.execute(delete(INVITATIONS).where(INVITATIONS.c.account == name))
            self._withdraw(connection, name)
            return self._changed(connection, account, "disabled", by)

    def enable(self, name: str, by: str) -> Account:
        """Open a disabled account again, with its roles and password."""
        with self._change() as connection:
            account = self._existing(connection, name)
            if account.active:
                raise Conflict(f"The account {name} is not disabled.")
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(active=True))
            return self._changed(connection, account, "enabled", by)

    def change_password(self, name: str, old: str, new: str) -> Account:
        """The owner's own change: needs the old password, ends all sessions of the account."""
        stored = self.check(name, old)
        if stored is None:
            raise _not_right()
        hashed = hash_password(check_password(new, name))
        with self._change() as connection:
            # A reset, or the account's end, may have come between: then the old password gives no right any more.
            same = select(ACCOUNTS.c.name).where(ACCOUNTS.c.name == name, ACCOUNTS.c.password == stored)
            if connection.scalar(same.where(ACCOUNTS.c.active)) is None:
                raise _not_right()
            return self._set_password(connection, name, hashed, by=name)

    # Steps

    @contextmanager
    def _change(self) -> Iterator[Connection]:
        """One transaction that no other change runs beside, on this machine or another.

        Its first statement takes SQLite's write lock, or the lock of the one row on PostgreSQL, where each statement
        after it sees all that was committed before the lock was had.
        """
        with _as_invalid(), self._engine.begin() as connection:
            if connection.execute(update(CHANGES).values(serial=CHANGES.c.serial + 1)).rowcount != 1:
                raise Unavailable("The state database lacks the row that changes queue on; restore it from a copy.")
            yield connection

    def _open(self, connection: Connection, invitation: Invitation, name: str, hashed: str) -> Account:
        if invitation.purpose == "first" and connection.scalar(select(func.count()).select_from(ACCOUNTS)):
            raise _spent()
        if self._find(connection, name):
            raise Conflict(f"There is an account {name} already; choose another name.")
        account = Account(name, invitation.roles, True, self._clock())
        connection.execute(
            insert(ACCOUNTS).values(
                name=name, password=hashed, roles=",".join(account.roles), active=True, created_at=account.created_at
            )
        )
        self._append(actions.create_account(self._stamp(), account=name, roles=account.roles, by=invitation.invited_by))
        return account

    def _set_password(self, connection: Connection, name: str, hashed: str, by: str) -> Account:
        account = self._existing(connection, name)
        connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(password=hashed))
        connection.execute(delete(SESSIONS).where(SESSIONS.c.account == name))
        connection.execute(delete(INVITATIONS).where(INVITATIONS.c.account == name, INVITATIONS.c.used_at.is_(None)))
        return self._changed(connection, account, "password", by)

    def _changed(self, connection: Connection, before: Account, change: AccountChange, by: str) -> Account:
        administrators = [
            row for row in connection.execute(select(ACCOUNTS)) if Permission.ACCOUNTS in _account(row).permissions
        ]
        if Permission.ACCOUNTS in before.permissions and not administrators:
            raise Conflict(f"{before.name} is the last active admin; make another account admin first.")
        after = self._existing(connection, before.name)
        self._append(actions.change_account(self._stamp(), account=after.name, roles=after.roles, change=change, by=by))
        return after

    def _recorded_link(self, connection: Connection, purpose: str, name: str, roles: tuple[str, ...], by: str) -> str:
        # The record first: what does not fit into it does not fit into the table.
        record = actions.change_account(self._stamp(), account=name, roles=roles, change="invited", by=by)
        connection.execute(delete(INVITATIONS).where(INVITATIONS.c.account == name, INVITATIONS.c.used_at.is_(None)))
        token = self._new_link(connection, purpose, name, roles, by)
        self._append(record)
        return token

    def _new_link(self, connection: Connection, purpose: str, name: str, roles: Iterable[str], by: str) -> str:
        now = self._clock()
        connection.execute(delete(INVITATIONS).where(INVITATIONS.c.expires_at <= now))
        if (connection.scalar(select(func.count()).select_from(INVITATIONS)) or 0) >= MOST_INVITATIONS:
            raise Conflict(f"There are {MOST_INVITATIONS} links of the last days; wait until some have expired.")
        token = secrets.token_urlsafe(32)
        connection.execute(
            insert(INVITATIONS).values(
                digest=digest(token),
                purpose=purpose,
                account=name,
                roles=",".join(roles),
                invited_by=by,
                created_at=now,
                expires_at=now + self._lifetime_ms,
            )
        )
        return token

    def _usable(self, connection: Connection, token: str) -> Invitation:
        row = connection.execute(select(INVITATIONS).where(INVITATIONS.c.digest == digest(token))).one_or_none()
        if row is None or row.used_at is not None or row.expires_at <= self._clock():
            raise _spent()
        if row.purpose == "first" and connection.scalar(select(func.count()).select_from(ACCOUNTS)):
            raise _spent()
        return _invitation(row)

    def _withdraw(self, connection: Connection, inviter: str) -> None:
        connection.execute(
            delete(INVITATIONS).where(INVITATIONS.c.invited_by == inviter, INVITATIONS.c.used_at.is_(None))
        )

    def _find(self, connection: Connection, name: str) -> Account | None:
        row = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == name)).one_or_none()
        return _account(row) if row else None

    def _existing(self, connection: Connection, name: str) -> Account:
        account = self._find(connection, name)
        if account is None:
            raise NotFound("There is no such account.")
        return account

    def _stamp(self) -> Stamp:
        return Stamp(self._clock(), self._boot)


def digest(token: str) -> str:
    """What is stored of a random token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def _as_invalid() -> Iterator[None]:
    """A value that does not fit into a record is the request's mistake."""
    try:
        yield
    except ActionError as error:
        raise invalid(error) from error


def _known_roles(roles: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(sorted(set(roles)))
    if not chosen or not set(chosen) <= ROLES.keys():
        raise Invalid(f"Give one or more of the roles {', '.join(ROLES)}.", field="roles")
    return chosen


def _account(row: Row[tuple[object, ...]]) -> Account:
    return Account(row.name, tuple(row.roles.split(",")), row.active, row.created_at)


def _invitation(row: Row[tuple[object, ...]]) -> Invitation:
    return Invitation(row.purpose, row.account, tuple(row.roles.split(",")), row.invited_by, row.expires_at)


def _not_right() -> Forbidden:
    return Forbidden("The present password is not right.", field="old_password")


def _spent() -> NotFound:
    return NotFound("This link was used already, has expired or never was. Ask an admin for a new one.")
