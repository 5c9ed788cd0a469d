"""A call that bundles in shadow look on: it is decided as it would be without them, and each decision is handed over.

The bundles in shadow get a document of their own, with what they read: in the one that is decided on, a part that only
they read could make the engine refuse it (a number that it cannot hold exactly), and so change the call.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol, overload

import structlog

from policies.combine import CombinedEngine, Decision, combine, decide, union
from policies.engine import AnswerMoment, Moment, PolicyEngine
from policies.errors import PolicyError
from policies.result import AnswerDecision, Reason, RequestDecision
from policies.shadow.runner import Shadow

log = structlog.get_logger("gateway")

SEEN: Final = frozenset({"content.findings", "candidates"})
"""What the comparison itself reads: what was found, and the endpoints that a decision leaves as they are."""

Reads = frozenset[str] | None


class Make(Protocol):
    """Makes the document of a moment with what is read of it."""

    def __call__(self, *, reads: Reads) -> bytes:
        """The JSON text."""
        ...


class Mix:
    """The bundles that decide and those that look on: the same for many calls.

    `shadows`: by the id of each roll-out, what its bundle reads of requests and of answers.
    """

    def __init__(
        self, shadow: Shadow, common: PolicyEngine, own: PolicyEngine | None, shadows: dict[str, tuple[Reads, Reads]]
    ) -> None:
        self.shadow = shadow
        self.common = common
        self.own = own
        self.engine = common if own is None else CombinedEngine(common, own)
        self.rollouts = tuple(shadows)
        self.shown: dict[bool, Reads] = {True: SEEN, False: SEEN}
        for requests, answers in shadows.values():
            self.shown = {True: union(self.shown[True], requests), False: union(self.shown[False], answers)}


class Watched:
    """The engine of one call. After `decide`, `tell` hands over what was decided."""

    __slots__ = ("_call", "_halves", "_mix", "answer_reads", "request_reads", "tenant_revision", "tokenises")

    def __init__(self, mix: Mix, call: str) -> None:
        self._mix = mix
        self._call = call
        self._halves: tuple[Decision, Decision | None] | None = None
        self.tenant_revision = mix.engine.tenant_revision
        self.request_reads = mix.engine.request_reads
        self.answer_reads = mix.engine.answer_reads
        self.tokenises = mix.engine.tokenises

    @property
    def revision(self) -> str:
        """The common bundle's revision."""
        return self._mix.common.revision

    @overload
    async def decide(self, moment: Literal[Moment.REQUEST], document: bytes) -> RequestDecision: ...

    @overload
    async def decide(self, moment: AnswerMoment, document: bytes) -> AnswerDecision: ...

    async def decide(self, moment: Moment, document: bytes) -> RequestDecision | AnswerDecision:
        """Decide. For the comparison, a call that could not be decided on counts as refused."""
        mix = self._mix
        self._halves = None
        own: Decision | None = None
        try:
            common = await decide(mix.common, moment, document)
            if mix.own is not None:
                own = await decide(mix.own, moment, document)
        except PolicyError:
            refused = _refused(moment)
            self._halves = (refused, None if mix.own is None else refused)
            raise
        self._halves = (common, own)
        return common if own is None else combine(common, own)

    def tell(self, moment: Moment, size: int, make: Make) -> None:
        """Hand the last decision over with a document that `make` makes of what the bundles in shadow read.

        `size`: how long the call's body is, in bytes; one that is too long is not made into a document.
        """
        halves, mix = self._halves, self._mix
        if halves is None:
            return
        reads = mix.shown[moment is Moment.REQUEST]
        whole = reads is None or any(each.partition(".")[0] == "parsed_body" for each in reads)
        try:
            fits = mix.shadow.has_room(size if whole else 0)
            document = make(reads=reads) if fits else None
        except Exception as error:  # nothing of this is the call's affair
            log.error("no document could be made for the shadow", error=type(error).__name__)
            document = None
        for rollout in mix.rollouts:
            mix.shadow.offer(rollout, self._call, moment, document, *halves)


def _refused(moment: Moment) -> Decision:
    reasons = (Reason("policy_failed", "policy could not decide"),)
    return RequestDecision(False, reasons) if moment is Moment.REQUEST else AnswerDecision(False, reasons)
