"""The records by which people, the command line and detectors act: keys, tenants, containments, operator accounts.

Console, CLI and detectors build these records here and nowhere else, so that an action means and weighs the same
wherever it comes from. Each function validates what it is given, makes the ids, and returns the record as a plain
mapping; the caller encodes it (`lineage.record.encode`) and appends it. Nothing has happened before the append is
acknowledged: control state is a projection of the log.

    text, record = create_key(Stamp.now(boot), name="ci-bot", tenant="acme", roles=["agent"], by="alice")
    await client.append(encode(record))          # from here on the key works; `text` is shown once and kept nowhere

Times are milliseconds since the epoch, durations are seconds. Every error is an `ActionError` that names the field.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self

from lineage.control import ControlState
from lineage.errors import LineageError, RecordError
from lineage.rollouts import NOT_KNOWN, refusal

KeyKind = Literal["caller", "reader"]
TargetType = Literal["principal", "endpoint"]
AccountChange = Literal["invited", "roles", "password", "disabled", "enabled"]
Record = dict[str, object]

KEY_PREFIX: Final[Mapping[str, str]] = {"caller": "cordon_", "reader": "cordonr_"}
LONGEST_CONTAINMENT_SECONDS: Final = 30 * 24 * 3600
LONGEST_KEY_SECONDS: Final = 10 * 366 * 24 * 3600
LONGEST_TEXT: Final = 500
MOST_ROLES: Final = 16

IDENTIFIER: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ACTOR: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/-]{0,127}")
_SOURCE: Final = re.compile(r"[A-Za-z0-9.:%_-]{1,64}")
_KEY_TEXT: Final = re.compile(r"cordonr?_[A-Za-z0-9_-]{20,}")


class ActionError(LineageError):
    """What was asked for cannot be put into a record; `field` names the argument to mend."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field


class UnknownTarget(ActionError):
    """There is no such key or containment in force: it never was, was released or revoked, or has run out."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When (ms since the epoch) and in which life of which process (`boot`) a record is made."""

    at: int
    boot: str

    @classmethod
    def now(cls, boot: str) -> Self:
        """The present moment of this machine's clock."""
        return cls(time.time_ns() // 1_000_000, boot)

    def head(self, kind: str) -> Record:
        """The fields that every record begins with."""
        return {"v": 1, "kind": kind, "at": self.at, "boot": self.boot}


def key_digest(text: str) -> str:
    """What the log keeps of a key: the SHA-256 of its whole text, in hex. Keys are random: no slow hash is needed."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def create_key(
    stamp: Stamp,
    *,
    name: str,
    tenant: str,
    by: str,
    roles: Iterable[str] = (),
    kind: KeyKind = "caller",
    expires: int | None = None,
) -> tuple[str, Record]:
    """A new key's text (256 random bits, shown once) and the `admin.key_created` record that makes it valid.

    `name` becomes the principal `tenant/name` of its calls. A reader key opens the log's read API and nothing else.
    """
    if kind not in KEY_PREFIX:
        raise ActionError("kind", "must be caller or reader")
    if expires is not None and not stamp.at < expires <= stamp.at + LONGEST_KEY_SECONDS * 1000:
        raise ActionError("expires", "must lie in the future, at most ten years ahead")
    text = KEY_PREFIX[kind] + secrets.token_urlsafe(32)
    record = stamp.head("admin.key_created") | {
        "key": _new_id("key"),
        "name": _identifier("name", name),
        "tenant": _identifier("tenant", tenant),
        "roles": _roles(roles),
        "key_kind": kind,
        "digest": key_digest(text),
        "by": _actor("by", by),
    }
    if expires is not None:
        record["expires"] = expires
    return text, record


def revoke_key(stamp: Stamp, *, key: str, by: str, known: Collection[str]) -> Record:
    """The `admin.key_revoked` record; `known` are the ids of the keys in force (from the control state)."""
    if key not in known:
        raise UnknownTarget("key", "is not in force: it does not exist or was revoked before")
    return stamp.head("admin.key_revoked") | {"key": key, "by": _actor("by", by)}


def erase_tenant(stamp: Stamp, *, tenant: str, by: str, first_at: int | None = None) -> Record:
    """The `admin.tenant_erased` record: the tenant's keys end with it, and whatever it calls is refused for ever.

    `first_at` (ms) is when the tenant had been erased, where the log has lost that record and is told again.
    """
    record = stamp.head("admin.tenant_erased") | {"tenant": _identifier("tenant", tenant), "by": _actor("by", by)}
    return record if first_at is None else record | {"first_at": first_at}


def prune_log(stamp: Stamp, state: ControlState, *, before: int, by: str, reason: str) -> Record:
    """The `log.pruned` record: records with an index below `before` are deleted once it is in the log.

    Those that say which keys, containments and erasures there are stay, and so do all hashes. `state` is what is in
    force; the record has no effect where something else is, once it is in the log.
    """
    facts = {"before": before, "by": _actor("by", by), "control": state.digest(), "reason": _text("reason", reason)}
    return stamp.head("log.pruned") | facts


def apply_containment(
    stamp: Stamp,
    *,
    target_type: TargetType,
    target: str,
    reason: str,
    owner: str,
    seconds: int,
    alert: str = "",
    containment: str = "",
) -> Record:
    """The `containment.applied` record: from its commit on, `target` is refused and its live streams are cut.

    `target` is a principal (`tenant/name`) or an endpoint's id. `seconds` is the limit, at most 30 days; `owner`
    answers for it (an account, or the detector as `detector:name`); `alert` is the id of the alert that led to it.
    `containment` is an id of the caller's own, for a detector that must not contain twice on the same evidence.
    """
    if type(seconds) is not int or not 1 <= seconds <= LONGEST_CONTAINMENT_SECONDS:
        raise ActionError("seconds", "must be a whole number from 1 to 2592000 (30 days): no containment is for ever")
    record = stamp.head("containment.applied") | {
        "containment": _actor("containment", containment) if containment else _new_id("con"),
        "target_type": target_type,
        "target": _target(target_type, target),
        "reason": _text("reason", reason),
        "owner": _actor("owner", owner),
        "until": stamp.at + seconds * 1000,
    }
    if target_type == "principal":
        record["tenant"] = target.partition("/")[0]
    if alert:
        record["alert"] = _actor("alert", alert)
    return record


def release_containment(stamp: Stamp, *, containment: str, by: str, reason: str, known: Collection[str]) -> Record:
    """The `containment.released` record; `known` are the ids of the containments in force (from the control state)."""
    if containment not in known:
        raise UnknownTarget("containment", "is not in force: it does not exist, was released or has run out")
    return stamp.head("containment.released") | {
        "containment": containment,
        "by": _actor("by", by),
        "reason": _text("reason", reason),
    }


def expire_containment(stamp: Stamp, *, containment: str, known: Collection[str]) -> Record:
    """The `containment.expired` record for one whose limit has passed."""
    if containment not in known:
        raise UnknownTarget("containment", "is not in force: it does not exist, was released or has run out")
    return stamp.head("containment.expired") | {"containment": containment}


def propose_bundle(
    stamp: Stamp, state: ControlState, *, digest: str, revision: str, by: str, scope: str = "", note: str = ""
) -> Record:
    """The `policy.proposed` record: a bundle whose archive `digest` is in the bundle store becomes a draft.

    `scope` is the tenant whose own bundle it is to be, or empty for the common one.
    """
    record = stamp.head("policy.proposed") | {
        "rollout": _new_id("rollout"),
        "digest": digest,
        "revision": revision,
        "scope": _identifier("scope", scope) if scope else "",
        "by": _actor("by", by),
        "note": _text("note", note) if note else "",
    }
    if scope in state.erased:
        raise ActionError("scope", "names a tenant that was erased")
    return _rolled(state, record)


def approve_bundle(stamp: Stamp, state: ControlState, *, rollout: str, digest: str, by: str) -> Record:
    """The `policy.approved` record; `digest` is that of the archive that was looked at."""
    facts = {"rollout": rollout, "digest": digest, "by": _actor("by", by)}
    return _rolled(state, stamp.head("policy.approved") | facts)


def stage_bundle(
    stamp: Stamp,
    state: ControlState,
    *,
    rollout: str,
    stage: str,
    by: str,
    share: int = 0,
    tenants: Collection[str] = (),
    base: str = "",
) -> Record:
    """The `policy.staged` record: from its commit on the bundle is in that stage.

    For a canary either `share` (of 1,000 calls) or `tenants` says what it decides. Going live takes the place of the
    one that is live, and `base` is then the revision of the configured bundle. To `draft`, a live one gives way to
    the one before it.
    """
    record = stamp.head("policy.staged") | {"rollout": rollout, "stage": stage, "by": _actor("by", by)}
    if stage == "canary":
        if bool(share) == bool(tenants):
            raise ActionError("share", "or tenants must say which calls the canary decides, and not both")
        record |= {"tenants": sorted(_identifier("tenants", each) for each in tenants)} if tenants else {"share": share}
    if stage == "live" and base:
        record["base"] = base
    return _rolled(state, record)


def withdraw_bundle(stamp: Stamp, state: ControlState, *, rollout: str, by: str, reason: str) -> Record:
    """The `policy.withdrawn` record: the roll-out is gone, and its bundle with it."""
    facts = {"rollout": rollout, "by": _actor("by", by), "reason": _text("reason", reason)}
    return _rolled(state, stamp.head("policy.withdrawn") | facts)


def _rolled(state: ControlState, record: Record) -> Record:
    """The record, if it has an effect as things stand."""
    rollout = record["rollout"]
    if not isinstance(rollout, str) or not IDENTIFIER.fullmatch(rollout):
        raise ActionError("rollout", "must be the id of a roll-out; 'cordon policy bundles' lists them")
    try:
        why = refusal(state.rollouts, record)
    except RecordError as error:
        raise ActionError("rollout", str(error)) from None
    if why.startswith(NOT_KNOWN):
        raise UnknownTarget(f"roll-out {rollout}", why)
    if why:
        raise ActionError(f"roll-out {rollout}", why)
    return record


def create_account(stamp: Stamp, *, account: str, roles: Iterable[str], by: str) -> Record:
    """The `admin.account_created` record of an operator account that begins to exist."""
    return stamp.head("admin.account_created") | _account(account, roles, by)


def change_account(stamp: Stamp, *, account: str, roles: Iterable[str], change: AccountChange, by: str) -> Record:
    """The `admin.account_changed` record; `roles` are those after the change."""
    return stamp.head("admin.account_changed") | _account(account, roles, by) | {"change": change}


def sign_in(stamp: Stamp, *, account: str, source: str) -> Record:
    """The `admin.signed_in` record; `source` is the peer's address."""
    return stamp.head("admin.signed_in") | {
        "account": _identifier("account", account),
        "source": _source(source),
    }


def read_input(stamp: Stamp, *, index: int, tenant: str, by: str) -> Record:
    """The `admin.input_read` record: an operator has looked at the masked input of the call whose record is `index`."""
    return stamp.head("admin.input_read") | {"index": index, "tenant": tenant, "by": _actor("by", by)}


def sign_in_failed(stamp: Stamp, *, account: str, source: str, count: int, interval_ms: int) -> Record:
    """The `admin.sign_in_failed` record of one interval's failures of one source.

    `account` is empty where no such account exists: what a person typed there may be a password.
    """
    record = stamp.head("admin.sign_in_failed") | {
        "source": _source(source),
        "count": count,
        "interval_ms": interval_ms,
    }
    if account:
        record["account"] = _identifier("account", account)
    return record


def _new_id(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(8)}"


def _identifier(field: str, value: str) -> str:
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise ActionError(
            field, "must be 1 to 63 of a-z, 0-9, dot, hyphen and underscore, and begin with a letter or digit"
        )
    return value


def _actor(field: str, value: str) -> str:
    if not isinstance(value, str) or not _ACTOR.fullmatch(value) or _KEY_TEXT.search(value):
        raise ActionError(field, "must be 1 to 128 of letters, digits and . _ @ : / - and begin with a letter or digit")
    return value


def _source(value: str) -> str:
    if not isinstance(value, str) or not _SOURCE.fullmatch(value):
        raise ActionError("source", "must be a peer's address")
    return value


def _text(field: str, value: str) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        raise ActionError(field, "is missing: say in a few words why")
    if len(text) > LONGEST_TEXT or not all(char.isprintable() for char in text):
        raise ActionError(field, f"must be one line of at most {LONGEST_TEXT} printable characters")
    if _KEY_TEXT.search(text):
        raise ActionError(field, "holds what looks like an API key; the log keeps everything, so leave it out")
    return text


def _roles(roles: Iterable[str]) -> list[str]:
    if isinstance(roles, str):
        raise ActionError("roles", "must be a list of names")
    chosen = sorted({_identifier("roles", role) for role in roles})
    if len(chosen) > MOST_ROLES:
        raise ActionError("roles", f"are more than {MOST_ROLES}")
    return chosen


def _target(target_type: str, target: str) -> str:
    if target_type == "endpoint":
        return _identifier("target", target)
    if target_type != "principal":
        raise ActionError("target_type", "must be principal or endpoint")
    tenant, slash, name = target.partition("/") if isinstance(target, str) else ("", "", "")
    if not slash:
        raise ActionError("target", "must be a principal as tenant/name")
    _identifier("target", tenant)
    _identifier("target", name)
    return target


def _account(account: str, roles: Iterable[str], by: str) -> Record:
    return {"account": _identifier("account", account), "roles": _roles(roles), "by": _actor("by", by)}
