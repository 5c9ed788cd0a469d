"""Who decides a recorded call anew: the candidate alone, or together with the bundle that decides beside it.

Of two bundles, what was done is the word of both. So where a candidate takes the place of one of them, the other one
is asked too, as it was in force then, and their words are put together as a gateway does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from policies.combine import Decision, combine, union
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.reads import Reads
from policies.replay_past import Past

Find = Callable[[str], EmbeddedEngine | None]
"""The engine of the bundle of a revision that decided recorded calls, the same each time; None where there is none.

It has engines of as many bundles as there may be at once, whatever the log names.
"""


class Decider(NamedTuple):
    """What decides a call, and what of the input it reads. `decide` raises PolicyError where it cannot say."""

    decide: Callable[[Moment, bytes], Decision]
    request_reads: Reads
    answer_reads: Reads


class Deciders:
    """Chooses by the revision that decides beside the candidate, which is a tenant's `own` bundle or the common one."""

    def __init__(self, candidate: EmbeddedEngine, find: Find, *, own: bool) -> None:
        self._candidate = candidate
        self._find = find
        self._own = own
        self._alone = Decider(candidate.decide_now, candidate.request_reads, candidate.answer_reads)
        self._pairs: dict[str, Decider] = {}

    def of(self, past: Past) -> Decider | None:
        """Who decides this call anew; None where the bundle beside the candidate is not to be had."""
        if not past.beside:
            return self._alone
        if (pair := self._pairs.get(past.beside)) is not None:
            return pair
        beside = self._find(past.beside)
        if beside is None:
            return None
        pair = self._pairs[past.beside] = self._paired(beside)
        return pair

    def _paired(self, beside: EmbeddedEngine) -> Decider:
        common, own = (beside, self._candidate) if self._own else (self._candidate, beside)

        def decide(moment: Moment, document: bytes) -> Decision:
            said = common.decide_now(moment, document)
            return combine(said, own.decide_now(moment, document))

        return Decider(
            decide,
            union(common.request_reads, own.request_reads),
            union(common.answer_reads, own.answer_reads),
        )


def missing(past: Past) -> str:
    """Why a call cannot be decided anew where the bundle beside the candidate is not to be had."""
    which = "the tenant's own bundle" if past.beside == past.own else "the common bundle"
    return f"{which} that decided it ({past.beside}) is neither configured nor rolled out any more"
