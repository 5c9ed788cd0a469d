"""Roll-outs of policy bundles: what the records about them make of the bundles that are proposed, in trial and live.

A bundle is proposed as a roll-out and goes `draft → shadow → canary → live`; it may go live from each of them, and back
at any time. The rules hold in the fold itself, so
that no command, page or process can pass them by: canary and live need the approval of somebody other than the
author, and of each scope one roll-out at most is in shadow, one in canary and one live. A record that breaks a rule
or comes too late has no effect; `refusal` says why before it is written.

    scope ""         the common bundle, which decides every call
    scope "acme"     a bundle of that tenant's own beside the common one: both must allow
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from lineage import fields
from lineage.errors import RecordError

STAGES: Final = ("draft", "shadow", "canary", "live")
REPLACED: Final = "replaced"
"""The stage of one that was live, and that the live one, or another of this stage, can be gone back from to."""
_ORDER: Final = ("live", "canary", "shadow", "draft", REPLACED)
MOST_ROLLOUTS: Final = 64
MOST_BACK: Final = 8
"""How many steps can be gone back from a live roll-out."""
MOST_TENANTS: Final = 64
WHOLE: Final = 1_000
"""A canary's share counts calls in so many."""

NOT_KNOWN: Final = "is not known"
_UNKNOWN: Final = f"{NOT_KNOWN}; 'cordon policy bundles' lists those that are"
_GUARDED: Final = ("canary", "live")


@dataclass(frozen=True, slots=True)
class Rollout:
    """A proposed bundle and how far it has come.

    `digest` is the SHA-256 (hex) of its archive in the bundle store, `revision` is what records of calls call it. Of a
    canary, `tenants` are those whose calls it decides; where there are none, it decides `share` of 1,000 calls. Of a
    live one, `base` is the configured bundle's revision when it went live, and `previous` the roll-out before it.
    `since` is when it came to its stage, in ms since the epoch.
    """

    id: str
    digest: str
    revision: str
    scope: str
    stage: str
    share: int
    tenants: tuple[str, ...]
    author: str
    approved_by: str
    base: str
    previous: str
    since: int
    note: str = ""


Rollouts = Mapping[str, Rollout]
Step = Callable[[Rollouts, Mapping[str, object]], "Rollouts | str"]


def fold(rollouts: Rollouts, record: Mapping[str, object]) -> Rollouts:
    """The roll-outs after a record of `STEPS`; the same where it has no effect. RecordError where a field is wrong."""
    after = STEPS[str(record.get("kind"))](rollouts, record)
    return rollouts if isinstance(after, str) else MappingProxyType(dict(after))


def refusal(rollouts: Rollouts, record: Mapping[str, object]) -> str:
    """Why a record would have no effect, as "it …"; empty if it would have one."""
    after = STEPS[str(record.get("kind"))](rollouts, record)
    return after if isinstance(after, str) else ""


def took_effect(rollouts: Rollouts, record: Mapping[str, object]) -> bool:
    """Whether a record that was not refused holds in the roll-outs after it: another one may have come before it."""
    rollout, kind = rollouts.get(str(record.get("rollout"))), record.get("kind")
    if rollout is None or kind == "policy.withdrawn":
        return rollout is None and kind == "policy.withdrawn"
    if kind == "policy.approved":
        return rollout.approved_by == record.get("by")
    return kind == "policy.proposed" or rollout.stage == record.get("stage")


def ordered(rollouts: Rollouts) -> list[Rollout]:
    """All of them: those of the common bundle first, and in each scope the one that decides first."""
    return sorted(rollouts.values(), key=lambda each: (each.scope, _ORDER.index(each.stage), -each.since))


def compared_with(rollouts: Rollouts, rollout: Rollout) -> Rollout | None:
    """What decides where a roll-out would, or decided before it; None: the configured bundle, or none of a tenant's."""
    now = live(rollouts, rollout.scope)
    return now if now is not None and now.id != rollout.id else rollouts.get(rollout.previous)


def live(rollouts: Rollouts, scope: str) -> Rollout | None:
    """The live roll-out of a scope."""
    return _at(rollouts, scope, "live")


def without_tenant(rollouts: Rollouts, tenant: str) -> Rollouts:
    """The roll-outs after a tenant was erased: none of its own, and no canary for it."""
    rest = {name: each for name, each in rollouts.items() if each.scope != tenant}
    for name, each in rest.items():
        if tenant in each.tenants:
            # Without a tenant left it would decide a share of all: of that it has none.
            left = tuple(other for other in each.tenants if other != tenant)
            rest[name] = replace(each, tenants=left, share=0)
    return rollouts if rest == rollouts else MappingProxyType(rest)


def from_row(value: dict[str, object]) -> Rollout:
    """A roll-out as it is stored."""
    tenants = value["tenants"]
    assert isinstance(tenants, list)
    return Rollout(**{**value, "tenants": tuple(tenants)})  # type: ignore[arg-type]


def _proposed(rollouts: Rollouts, record: Mapping[str, object]) -> Rollouts | str:
    new = Rollout(
        id=fields.text(record, "rollout"),
        digest=fields.digest(record, "digest"),
        revision=fields.text(record, "revision"),
        scope=fields.text(record, "scope", empty=True),
        stage="draft",
        share=0,
        tenants=(),
        author=fields.text(record, "by"),
        approved_by="",
        base="",
        previous="",
        note=fields.text(record, "note", empty=True),
        since=fields.time(record, "at"),
    )
    if new.id in rollouts:
        return "is proposed already"
    if len(rollouts) >= MOST_ROLLOUTS:
        return f"would be one more than the {MOST_ROLLOUTS} that there may be; withdraw one first"
    return {**rollouts, new.id: new}


def _approved(rollouts: Rollouts, record: Mapping[str, object]) -> Rollouts | str:
    rollout, by = rollouts.get(fields.text(record, "rollout")), fields.text(record, "by")
    if rollout is None:
        return _UNKNOWN
    if fields.text(record, "digest") != rollout.digest:
        return "has another bundle than the one that was looked at"
    if rollout.stage == REPLACED or rollout.approved_by:
        return "is approved already"
    if same_person(by, rollout.author):
        return f"was proposed by {by}, so somebody else must approve it"
    return {**rollouts, rollout.id: replace(rollout, approved_by=by)}


def _staged(rollouts: Rollouts, record: Mapping[str, object]) -> Rollouts | str:
    rollout, stage = rollouts.get(fields.text(record, "rollout")), fields.one_of(record, "stage", STAGES)
    share, tenants = _part(record, stage)
    base, at = fields.text(record, "base", empty=True), fields.time(record, "at")
    if rollout is None:
        return _UNKNOWN
    if rollout.stage == REPLACED:
        return "was live before; go back to it from the one that is live now"
    if rollout.stage == "live":
        return _back(rollouts, rollout, at) if stage == "draft" else "is live; go back first"
    if stage == rollout.stage and (share, tenants) == (rollout.share, rollout.tenants):
        return f"is in {stage} already"
    if stage in _GUARDED and not rollout.approved_by:
        return f"needs the approval of somebody other than {rollout.author} first"
    if stage == "canary" and rollout.stage == "draft":
        return "has to be in shadow first"
    if stage == "canary" and rollout.scope and tenants:
        return "is of one tenant's own; give it a share of that tenant's calls"
    there = _at(rollouts, rollout.scope, stage)
    moved = replace(rollout, stage=stage, share=share, tenants=tenants, since=at)
    if stage == "live":
        return _went_live(rollouts, replace(moved, base="" if rollout.scope else base), there)
    if stage != "draft" and there is not None and there.id != rollout.id:
        return f"finds {there.id} in {stage}; move that one first"
    return {**rollouts, rollout.id: moved}


def _withdrawn(rollouts: Rollouts, record: Mapping[str, object]) -> Rollouts | str:
    rollout = rollouts.get(fields.text(record, "rollout"))
    if rollout is None:
        return _UNKNOWN
    if rollout.stage == "live":
        return "is live; go back first"
    rest = {name: each for name, each in rollouts.items() if name != rollout.id}
    for name, each in rest.items():
        if each.previous == rollout.id:
            rest[name] = replace(each, previous=rollout.previous)
    return rest


def _went_live(rollouts: Rollouts, new: Rollout, before: Rollout | None) -> Rollouts:
    """`new` takes the place of the one that was live; what lies too many steps back is let go."""
    after = {**rollouts, new.id: replace(new, previous=before.id if before else "")}
    if before is not None:
        after[before.id] = replace(before, stage=REPLACED)
    last = after[new.id]
    for _ in range(MOST_BACK):
        if not last.previous:
            return after
        last = after[last.previous]
    gone = last.previous
    after[last.id] = replace(last, previous="")
    while gone:
        gone = after.pop(gone).previous
    return after


def _back(rollouts: Rollouts, now: Rollout, at: int) -> Rollouts:
    """The one before is live again, or the configured bundle; this one is a draft, and not approved any more."""
    draft = replace(now, stage="draft", approved_by="", base="", previous="", since=at)
    after = {**rollouts, now.id: draft}
    if now.previous:
        # With its own base: where the configured bundle had taken its place meanwhile, that decides, as before.
        after[now.previous] = replace(after[now.previous], stage="live", since=at)
    return after


def _part(record: Mapping[str, object], stage: str) -> tuple[int, tuple[str, ...]]:
    """What part of the calls a canary decides."""
    if stage != "canary":
        return 0, ()
    share, tenants = record.get("share", 0), record.get("tenants", ())
    if type(share) is not int or not 0 <= share <= WHOLE:
        raise RecordError(f"a {record.get('kind')} record's 'share' is a number from 0 to {WHOLE}")
    if not isinstance(tenants, list | tuple) or not all(type(each) is str and each for each in tenants):
        raise RecordError(f"a {record.get('kind')} record's 'tenants' is a list of texts")
    if len(tenants) > MOST_TENANTS or bool(tenants) == bool(share):
        raise RecordError(
            f"a {record.get('kind')} record to canary has either a 'share' or up to {MOST_TENANTS} 'tenants'"
        )
    return share, tuple(tenants)


def _at(rollouts: Rollouts, scope: str, stage: str) -> Rollout | None:
    return next((each for each in rollouts.values() if each.scope == scope and each.stage == stage), None)


def same_person(one: str, other: str) -> bool:
    """Whether two names of who acts count as one, so that neither may approve what the other proposed."""
    return _person(one) == _person(other)


def _person(name: str) -> str:
    """Who acts: the user alice of a machine (`cli:alice`) and the operator alice count as one."""
    return name.rpartition(":")[2].casefold()


STEPS: Final[Mapping[str, Step]] = MappingProxyType(
    {
        "policy.proposed": _proposed,
        "policy.approved": _approved,
        "policy.staged": _staged,
        "policy.withdrawn": _withdrawn,
    }
)
