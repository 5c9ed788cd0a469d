"""The seam behind which policy is evaluated: the moments of decision and what an engine must offer."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Protocol, overload

from policies.result import AnswerDecision, RequestDecision


class Moment(StrEnum):
    """When a decision is asked for; the value is the document's `phase`.

    REQUEST comes before the dispatch and asks the request rule. The others ask the response rule: when the
    answer's head is there, at each first new type of finding, and at the end.
    """

    REQUEST = "request"
    ANSWER_HEAD = "answer_head"
    FINDING = "finding"
    ANSWER_END = "answer_end"


AnswerMoment = Literal[Moment.ANSWER_HEAD, Moment.FINDING, Moment.ANSWER_END]


class PolicyEngine(Protocol):
    """Decides on calls by one bundle, or by two (`combine.py`). Swapping one means making a new engine."""

    @property
    def revision(self) -> str:
        """The bundle's content hash, as it stands in records."""
        ...

    @property
    def tenant_revision(self) -> str:
        """That of the bundle of the tenant's own that decides beside it; empty where one bundle decides alone."""
        ...

    @property
    def request_reads(self) -> frozenset[str] | None:
        """What of `input` deciding on a request can read (`candidates`, `tenant.id`), or None if it may be anything.

        The rest may be left out of the document: nothing could tell the difference.
        """
        ...

    @property
    def answer_reads(self) -> frozenset[str] | None:
        """The same for deciding on answers."""
        ...

    @property
    def tokenises(self) -> bool:
        """Whether the bundle may ask to tokenise: whether it has the word. Calls of other bundles need no tokens."""
        ...

    @overload
    async def decide(self, moment: Literal[Moment.REQUEST], document: bytes) -> RequestDecision: ...

    @overload
    async def decide(self, moment: AnswerMoment, document: bytes) -> AnswerDecision: ...

    async def decide(self, moment: Moment, document: bytes) -> RequestDecision | AnswerDecision:
        """Decide on `document`, the JSON text of `input`.

        A result that breaks the contract comes back as a denial that says so; PolicyError means that the engine
        could not decide at all, and the caller denies.
        """
        ...
