"""The control state: which keys live, who is contained, who was erased, which bundles decide: a fold over the log.

Nothing else creates or ends a key or a containment, erases a tenant or rolls out a bundle, so whoever has folded the
log up to an index knows exactly what held there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import orjson

from lineage import fields, rollouts
from lineage.errors import RecordError
from lineage.record import decode
from lineage.rollouts import Rollout

MAX_ENTRIES: Final = 20_000
"""Most live keys, live containments, and erased tenants; a record that would exceed it is refused."""

CONTROL_KINDS: Final[frozenset[str]] = frozenset(
    {
        "containment.applied",
        "containment.released",
        "containment.expired",
        "admin.key_created",
        "admin.key_revoked",
        "admin.tenant_erased",
        "log.pruned",
        *rollouts.STEPS,
    }
)
_MARKS: Final = (
    b'"kind":"containment.',
    b'"kind":"admin.key_',
    b'"kind":"admin.tenant_',
    b'"kind":"log.pruned"',
    b'"kind":"policy.',
)


@dataclass(frozen=True, slots=True)
class Containment:
    """A principal or an endpoint that is kept from calling or being called, for a time and a reason."""

    id: str
    target_type: str
    target: str
    reason: str
    owner: str
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A credential of a caller or of a reader of the log; only the SHA-256 (hex) of its whole text is known."""

    id: str
    digest: str
    name: str
    tenant: str
    roles: tuple[str, ...]
    kind: str
    expires: int | None


@dataclass(frozen=True, slots=True)
class Erased:
    """A tenant whose key was destroyed: it has no keys and gets none, and its calls are refused, for ever."""

    tenant: str
    at: int
    by: str


Row = tuple[str, str, bytes | None]
"""One stored part of the state: (one of `_KINDS`, id, JSON text or None if it went away)."""


@dataclass(frozen=True, slots=True)
class ControlState:
    """Live containments by id, live keys by digest, erased tenants by id, roll-outs of bundles by id.

    `epoch` is the log's size just after the last control record. Records below `pruned` may be gone, control records
    excepted.

    Times are ms since the epoch. An entry whose `until` or `expires` lies in the past is still in the state until
    a record removes it: whoever uses it compares the time.
    """

    epoch: int = 0
    containments: Mapping[str, Containment] = field(default_factory=lambda: MappingProxyType({}))
    keys: Mapping[str, ApiKey] = field(default_factory=lambda: MappingProxyType({}))
    erased: Mapping[str, Erased] = field(default_factory=lambda: MappingProxyType({}))
    pruned: int = 0
    rollouts: Mapping[str, Rollout] = field(default_factory=lambda: MappingProxyType({}))

    def fold(self, record: Mapping[str, object], index: int) -> ControlState:
        """Return the state after the record at `index`; the same state when it is not a control record.

        Raises RecordError when a control record lacks a field or would exceed `MAX_ENTRIES`.
        """
        step = _FOLDS.get(str(record.get("kind")))
        if step is None:
            return self
        if step is _pruned and not 0 < fields.time(record, "before") <= index:
            raise RecordError("a log.pruned record needs the index of an earlier record in 'before'")
        return replace(step(self, record), epoch=index + 1)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of all that is in force, wherever the records are that say so."""
        parts = [
            [self.containments[name] for name in sorted(self.containments)],
            [self.keys[digest] for digest in sorted(self.keys)],
            [self.erased[tenant] for tenant in sorted(self.erased)],
            self.pruned,
            [self.rollouts[name] for name in sorted(self.rollouts)],
        ]
        return hashlib.sha256(orjson.dumps(parts)).hexdigest()

    def changes(self, before: ControlState) -> list[Row]:
        """Return what has to be stored to get from `before` to this state."""
        return [
            *_row_changes("containment", before.containments, self.containments),
            *_row_changes("key", before.keys, self.keys),
            *_row_changes("erased", before.erased, self.erased),
            *_row_changes("rollout", before.rollouts, self.rollouts),
            *([("pruned", "", orjson.dumps(self.pruned))] if self.pruned != before.pruned else []),
        ]

    def dump(self) -> bytes:
        """Return the whole state as JSON text, for `load`."""
        return orjson.dumps(
            {
                "epoch": self.epoch,
                "containment": list(self.containments.values()),
                "key": list(self.keys.values()),
                "erased": list(self.erased.values()),
                "rollout": list(self.rollouts.values()),
                "pruned": [self.pruned] if self.pruned else [],
            }
        )


def load(data: bytes) -> ControlState:
    """Return the state that `ControlState.dump` wrote."""
    value = orjson.loads(data)
    rows: list[Row] = [(kind, "", orjson.dumps(item)) for kind in _KINDS for item in value[kind]]
    return from_rows(value["epoch"], rows)


def from_rows(epoch: int, rows: list[Row]) -> ControlState:
    """Return the state that stored rows hold."""
    containments: dict[str, Containment] = {}
    keys: dict[str, ApiKey] = {}
    erased: dict[str, Erased] = {}
    pruned = 0
    bundles: dict[str, Rollout] = {}
    for kind, _, data in rows:
        value = orjson.loads(data or b"null")
        if kind == "containment":
            containments[value["id"]] = Containment(**value)
        elif kind == "erased":
            erased[value["tenant"]] = Erased(**value)
        elif kind == "pruned":
            pruned = int(value)
        elif kind == "rollout":
            bundles[value["id"]] = rollouts.from_row(value)
        else:
            keys[value["digest"]] = ApiKey(**{**value, "roles": tuple(value["roles"])})
    parts = (MappingProxyType(containments), MappingProxyType(keys), MappingProxyType(erased))
    return ControlState(epoch, *parts, pruned, MappingProxyType(bundles))


def may_control(data: bytes) -> bool:
    """Say cheaply whether a record's canonical bytes could be a control record (false alarms are possible)."""
    return _MARKS[0] in data or _MARKS[1] in data or _MARKS[2] in data or _MARKS[3] in data or _MARKS[4] in data


def is_control(data: bytes) -> bool:
    """Say whether a record's canonical bytes are a control record."""
    return may_control(data) and decode(data).get("kind") in CONTROL_KINDS


def _row_changes(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Row]:
    for name, item in after.items():
        if before.get(name) is not item:
            yield kind, name, orjson.dumps(item)
    for name in before:
        if name not in after:
            yield kind, name, None


def _bounded(entries: dict[str, Any]) -> Mapping[str, Any]:
    if len(entries) > MAX_ENTRIES:
        raise RecordError(f"there are {MAX_ENTRIES} live entries already; release or revoke some first")
    return MappingProxyType(entries)


def _applied(state: ControlState, record: Mapping[str, object]) -> ControlState:
    containment = Containment(
        id=fields.text(record, "containment"),
        target_type=fields.one_of(record, "target_type", ("principal", "endpoint")),
        target=fields.text(record, "target"),
        reason=fields.text(record, "reason"),
        owner=fields.text(record, "owner"),
        since=fields.time(record, "at"),
        until=fields.time(record, "until"),
    )
    return replace(state, containments=_bounded({**state.containments, containment.id: containment}))


def _ended(state: ControlState, record: Mapping[str, object]) -> ControlState:
    gone = fields.text(record, "containment")
    rest = {name: item for name, item in state.containments.items() if name != gone}
    return replace(state, containments=MappingProxyType(rest))


def _key_created(state: ControlState, record: Mapping[str, object]) -> ControlState:
    roles = record.get("roles")
    if not isinstance(roles, list | tuple) or not all(type(role) is str for role in roles):
        raise RecordError("an admin.key_created record needs a list of texts in 'roles'")
    digest = fields.digest(record, "digest")
    if fields.text(record, "tenant") in state.erased:
        raise RecordError("the tenant was erased, and gets no keys; give the new one another id")
    key = ApiKey(
        id=fields.text(record, "key"),
        digest=digest,
        name=fields.text(record, "name"),
        tenant=fields.text(record, "tenant"),
        roles=tuple(roles),
        kind=fields.one_of(record, "key_kind", ("caller", "reader")),
        expires=None if record.get("expires") is None else fields.time(record, "expires"),
    )
    return replace(state, keys=_bounded({**state.keys, digest: key}))


def _key_revoked(state: ControlState, record: Mapping[str, object]) -> ControlState:
    gone = fields.text(record, "key")
    return replace(state, keys=MappingProxyType({d: key for d, key in state.keys.items() if key.id != gone}))


def _tenant_erased(state: ControlState, record: Mapping[str, object]) -> ControlState:
    erased = Erased(tenant=fields.text(record, "tenant"), at=fields.time(record, "at"), by=fields.text(record, "by"))
    keys = {digest: key for digest, key in state.keys.items() if key.tenant != erased.tenant}
    return replace(
        state,
        keys=MappingProxyType(keys),
        erased=_bounded({erased.tenant: erased, **state.erased}),
        rollouts=rollouts.without_tenant(state.rollouts, erased.tenant),
    )


def _rolled_out(state: ControlState, record: Mapping[str, object]) -> ControlState:
    return replace(state, rollouts=rollouts.fold(state.rollouts, record))


_KINDS: Final = ("containment", "key", "erased", "pruned", "rollout")


def _pruned(state: ControlState, record: Mapping[str, object]) -> ControlState:
    # Bound to what was in force, it shows ever after that no control record below it was deleted or changed to another
    # effect. One that comes too late, when something else is in force already, has no effect.
    if fields.text(record, "control") != state.digest():
        return state
    return replace(state, pruned=max(state.pruned, fields.time(record, "before")))


_FOLDS: Final[Mapping[str, Callable[[ControlState, Mapping[str, object]], ControlState]]] = {
    "containment.applied": _applied,
    "containment.released": _ended,
    "containment.expired": _ended,
    "admin.key_created": _key_created,
    "admin.key_revoked": _key_revoked,
    "admin.tenant_erased": _tenant_erased,
    "log.pruned": _pruned,
    **dict.fromkeys(rollouts.STEPS, _rolled_out),
}
