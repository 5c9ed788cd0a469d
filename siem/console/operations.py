"""What an operator does to the running system: contain, release, create and revoke keys.

Each becomes one record, and is done once that record is durable; API and pages share these functions.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from lineage import actions
from lineage.actions import ActionError, KeyKind, TargetType, UnknownTarget
from lineage.clock import Terms
from lineage.control import ApiKey, Containment
from lineage.reader import LogReader
from lineage.record import decode
from siem.console.errors import Conflict, NotFound, invalid
from siem.console.journal import Journal

LOOK_BACK = 200_000
STRETCH = 1_000


@dataclass(frozen=True, slots=True)
class Story:
    """A containment and the record by which it ended, with its index; None and -1 while it holds or only ran out."""

    containment: Containment
    over: bool
    ended: Mapping[str, Any] | None
    ended_index: int


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: its id, and its text, which is shown this once."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant: how many keys it has, and when (ms) it was erased, if it was."""

    id: str
    keys: int
    erased_at: int | None


class Operations:
    """One at a time: what is checked still holds when the record is written, as far as this process is concerned."""

    def __init__(self, journal: Journal, reader: LogReader) -> None:
        self._journal = journal
        self._reader = reader
        self._turn = threading.Lock()
        self._looking = threading.Lock()
        self._seen = journal.control
        self._terms = Terms(self._seen)

    def in_force(self) -> list[Containment]:
        """Containments that hold now, as the workers judge it, the newest first."""
        with self._looking:
            if self._journal.control is not self._seen:
                self._seen = self._journal.control
                self._terms.take_up(self._seen)
            found = filter(self._terms.in_force, self._seen.containments.values())
            return sorted(found, key=lambda held: held.since, reverse=True)

    def tenants(self, configured: Iterable[str]) -> list[Tenant]:
        """The configured tenants and the erased ones, by id."""
        control = self._journal.control
        keys = Counter(key.tenant for key in control.keys.values())
        return [
            Tenant(name, keys[name], erased.at if (erased := control.erased.get(name)) else None)
            for name in sorted({*configured, *control.erased})
        ]

    def live_keys(self) -> list[ApiKey]:
        """Keys that have not been revoked, by tenant and name; expired ones are among them."""
        return sorted(self._journal.control.keys.values(), key=lambda key: (key.tenant, key.name, key.id))

    def story(self, containment: str) -> Story:
        """A containment, in force or ended not too long ago; `NotFound` for what the recent log does not know."""
        for held in self.in_force():
            if held.id == containment:
                return Story(held, False, None, -1)
        ended, ended_index = None, -1
        for index, record in self._records(containment):
            if record["kind"] == "containment.applied":
                return Story(_applied(record), True, ended, ended_index)
            ended, ended_index = record, index
        raise NotFound("There is no such containment, or it ended long ago.")

    def contain(
        self, target_type: TargetType, target: str, *, seconds: int, reason: str, owner: str, alert: str = ""
    ) -> str:
        """Isolate a principal or an endpoint; the containment's id."""
        with self._acting():
            record = actions.apply_containment(
                self._journal.stamp(),
                target_type=target_type,
                target=target,
                reason=reason,
                owner=owner,
                seconds=seconds,
                alert=alert,
            )
            self._journal.append(record)
            return str(record["containment"])

    def release(self, containment: str, *, reason: str, by: str) -> None:
        """End a containment; `Conflict` if it has ended already, `NotFound` if there never was one."""
        with self._acting():
            known = {held.id for held in self.in_force()}
            try:
                record = actions.release_containment(
                    self._journal.stamp(), containment=containment, by=by, reason=reason, known=known
                )
            except UnknownTarget as error:
                self.story(containment)
                raise Conflict("This containment has ended already: it was released or its time ran out.") from error
            self._journal.append(record)

    def create_key(
        self, *, name: str, tenant: str, roles: Iterable[str], kind: KeyKind, expires: int | None, by: str
    ) -> NewKey:
        """A new key; it works from now on, and its text cannot be had again."""
        with self._acting():
            text, record = actions.create_key(
                self._journal.stamp(), name=name, tenant=tenant, roles=roles, kind=kind, expires=expires, by=by
            )
            self._journal.append(record)
            return NewKey(str(record["key"]), text)

    def revoke_key(self, key: str, *, by: str) -> None:
        """End a key; every worker refuses it from the record's commit on."""
        with self._acting():
            known = {one.id for one in self._journal.control.keys.values()}
            try:
                record = actions.revoke_key(self._journal.stamp(), key=key, by=by, known=known)
            except UnknownTarget as error:
                raise NotFound("There is no such key, or it was revoked already.") from error
            self._journal.append(record)

    def _records(self, containment: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The recent log's records of a containment, newest first. Only what could be an id is searched for."""
        if not containment.isascii() or not containment.replace("-", "").isalnum():
            return
        needle = f'"containment":"{containment}"'.encode()
        end = self._reader.size()
        lowest = max(0, end - LOOK_BACK)
        while end > lowest:
            start = max(lowest, end - STRETCH)
            for index, data in reversed(self._reader.source.search(needle, start, end)):
                record = decode(data)
                if record.get("containment") == containment:
                    yield index, record
            end = start

    @contextmanager
    def _acting(self) -> Iterator[None]:
        try:
            with self._turn:
                yield
        except ActionError as error:
            raise invalid(error) from error


def _applied(record: Mapping[str, Any]) -> Containment:
    names = {"id": "containment", "since": "at"}
    return Containment(**{field.name: record[names.get(field.name, field.name)] for field in fields(Containment)})
