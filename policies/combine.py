"""Two bundles on one call: the common one and the tenant's own. Both must allow, and the stricter word holds.

What stricter means of a redaction: `drop` leaves nothing, not even that there was a value; `mask` leaves its type;
`hash` also lets equal values be told; `tokenise` lets them be told as well, and brings the value back in the answer.
So drop > mask > hash > tokenise > left as it is. Of plans: buffer > inspect > pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, overload

import orjson

from policies.engine import AnswerMoment, Moment, PolicyEngine
from policies.result import PLANS, AnswerDecision, Reason, RequestDecision
from policies.shapes import check_schema

OWN: Final = "tenant"
"""What marks the reasons of the tenant's own bundle: its rule `x` becomes `tenant:x`; one without a name, `tenant`."""

_STRICT: Final = {"drop": 4, "mask": 3, "hash": 2, "tokenise": 1}
_SORTED: Final = orjson.OPT_SORT_KEYS
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$id", "$anchor", "$dynamicAnchor"})

Decision = RequestDecision | AnswerDecision


class CombinedEngine:
    """Decides by the common bundle and by one of the tenant's own. It belongs to the thread that both belong to."""

    def __init__(self, common: PolicyEngine, own: PolicyEngine) -> None:
        self._common = common
        self._own = own
        self.tenant_revision = own.revision
        self.request_reads = union(common.request_reads, own.request_reads)
        self.answer_reads = union(common.answer_reads, own.answer_reads)
        self.tokenises = common.tokenises or own.tokenises

    @property
    def revision(self) -> str:
        """The common bundle's revision; `tenant_revision` is the other one's."""
        return self._common.revision

    @overload
    async def decide(self, moment: Literal[Moment.REQUEST], document: bytes) -> RequestDecision: ...

    @overload
    async def decide(self, moment: AnswerMoment, document: bytes) -> AnswerDecision: ...

    async def decide(self, moment: Moment, document: bytes) -> RequestDecision | AnswerDecision:
        """Ask both, whatever the first one says, and put their words together. An error of either is the caller's."""
        common = await decide(self._common, moment, document)
        return combine(common, await decide(self._own, moment, document))


async def decide(engine: PolicyEngine, moment: Moment, document: bytes) -> Decision:
    """The decision of an engine at a moment that is known at run time only."""
    if moment is Moment.REQUEST:
        return await engine.decide(moment, document)
    return await engine.decide(moment, document)


def combine(common: Decision, own: Decision) -> Decision:
    """The decision of two bundles on the same moment of a call."""
    if isinstance(common, RequestDecision) and isinstance(own, RequestDecision):
        return combine_requests(common, own)
    if isinstance(common, AnswerDecision) and isinstance(own, AnswerDecision):
        return combine_answers(common, own)
    raise TypeError("a decision on a request and one on an answer do not go together")


def combine_requests(common: RequestDecision, own: RequestDecision) -> RequestDecision:
    """Both must allow. The endpoints are those that both name, in the common bundle's order; its labels win."""
    allow = common.allow and own.allow
    reasons = _reasons(common, own)
    endpoints = _endpoints(common.endpoints, own.endpoints)
    if allow and endpoints == ():
        allow = False
        detail = "the common bundle and the tenant's own leave the call no endpoint that both allow"
        reasons = (Reason("policy.combined", detail, "let the two name an endpoint in common"), *reasons)
    return RequestDecision(
        allow,
        reasons,
        endpoints,
        _redact(common.redact, own.redact),
        common.require_approval or own.require_approval,
        {**own.labels, **common.labels},
        _limits(common.limits, own.limits),
    )


def combine_answers(common: AnswerDecision, own: AnswerDecision) -> AnswerDecision:
    """Both must allow, and the answer must keep what either demands of it."""
    decision = AnswerDecision(
        common.allow and own.allow,
        _reasons(common, own),
        _redact(common.redact, own.redact),
        {**own.labels, **common.labels},
        max(common.plan, own.plan, key=PLANS.index),
        _limits(common.limits, own.limits),
        tuple(dict.fromkeys((*common.block, *own.block))),
        common.schema if own.schema is None else own.schema,
    )
    if common.schema is None or own.schema is None or _same(common.schema, own.schema):
        return decision
    schema: Mapping[str, object] = {"allOf": [common.schema, own.schema]}
    fault = "one of them has references" if _refers(schema) else check_schema(schema)
    if fault:
        detail = f"the common bundle and the tenant's own each demand a schema, which cannot be put together: {fault}"
        reason = Reason("policy.combined", detail, "write one of them shorter, without $ref, or let one bundle ask it")
        return replace(decision, allow=False, reasons=(reason, *decision.reasons), schema=None)
    return replace(decision, schema=schema)


def asks_more(later: AnswerDecision, planned: AnswerDecision) -> bool:
    """Whether a decision after the answer's head demands what the one at the head, which alone can plan, did not.

    Of two bundles, one may say less later on than it said at the head; the plan of both holds on.
    """
    if not set(later.block) <= set(planned.block) or (later.plan == "buffer" and planned.plan != "buffer"):
        return True
    if any(name not in planned.limits or most < planned.limits[name] for name, most in later.limits.items()):
        return True
    if later.schema is None:
        return False
    if planned.schema is None:
        return True
    parts = planned.schema.get("allOf") if len(planned.schema) == 1 else None
    return not any(_same(later.schema, each) for each in (planned.schema, *(parts if isinstance(parts, list) else ())))


def union(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """What either reads of the input; None: perhaps all of it."""
    return None if one is None or other is None else one | other


def _reasons(common: Decision, own: Decision) -> tuple[Reason, ...]:
    """The reasons of both, those of whoever refuses first: a record has room for a few."""
    marked = tuple(replace(each, rule=f"{OWN}:{each.rule}" if each.rule else OWN) for each in own.reasons)
    if not own.allow and not marked:
        marked = (Reason(OWN, "the tenant's own bundle refuses it and gives no reason"),)
    return (*marked, *common.reasons) if common.allow and not own.allow else (*common.reasons, *marked)


def _endpoints(common: tuple[str, ...] | None, own: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if common is None or own is None:
        return own if common is None else common
    return tuple(name for name in common if name in own)


def _redact(common: Mapping[str, str], own: Mapping[str, str]) -> Mapping[str, str]:
    both = dict(common)
    for finding, how in own.items():
        if finding not in both or _STRICT[how] > _STRICT[both[finding]]:
            both[finding] = how
    return both


def _limits(common: Mapping[str, int], own: Mapping[str, int]) -> Mapping[str, int]:
    return {name: min(each[name] for each in (common, own) if name in each) for name in {**common, **own}}


def _same(one: object, other: object) -> bool:
    """Whether two values are the same JSON; in Python a true equals a 1."""
    return one is other or orjson.dumps(one, option=_SORTED) == orjson.dumps(other, option=_SORTED)


def _refers(value: object) -> bool:
    """Whether a schema has anything in it that means a place in the whole, which is another place in a larger one."""
    if isinstance(value, list):
        return any(map(_refers, value))
    if not isinstance(value, dict):
        return False
    return not _REFERENCES.isdisjoint(value) or any(map(_refers, value.values()))
