"""What an engine remembers of its decisions, by moment, and the counts of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lineage.metrics import Meter
from policies.cache import Cache, Tallies
from policies.engine import Moment
from policies.errors import Problem
from policies.result import AnswerDecision, RequestDecision
from policies.settings import Policy

Decision = RequestDecision | AnswerDecision

LONGEST: Final = 4_096
"""Longest document in bytes whose decision is remembered."""
ENTRY_BYTES: Final = 1_024
"""What a remembered decision takes beside its document and its result."""
RESULT_FACTOR: Final = 6
"""A decision is objects of Python: so many bytes for each byte of the JSON text that it was read from, at most."""
SCHEMA_FACTOR: Final = 40
"""The same for one with a schema, which may be of many small objects."""


class Remembered:
    """The decisions of one moment. `cache` is None where none are remembered; `passed` counts those, by the reason."""

    __slots__ = ("cache", "hits", "long", "misses", "passed")

    def __init__(self, meter: Meter, moment: Moment, cache: Cache[Decision] | None, reason: str) -> None:
        self.cache = cache
        self.hits = meter.counter("cordon_policy_cache_hits_total", moment.value)
        self.misses = meter.counter("cordon_policy_cache_misses_total", moment.value)
        self.long = meter.counter("cordon_policy_cache_passed_total", moment.value, "long")
        self.passed = meter.counter("cordon_policy_cache_passed_total", moment.value, reason)

    def find(self, document: bytes) -> Decision | None:
        """The decision on exactly this document, or None where it has to be evaluated."""
        if self.cache is None:
            self.passed.value += 1
            return None
        if len(document) > LONGEST:
            self.long.value += 1
            return None
        decision = self.cache.get(document)
        if decision is None:
            self.misses.value += 1
        else:
            self.hits.value += 1
        return decision

    def keep(self, document: bytes, decision: Decision, length: int) -> None:
        """Remember a decision that was read from a result of `length` characters, where that is to be done."""
        if self.cache is not None and len(document) <= LONGEST:
            nested = isinstance(decision, AnswerDecision) and decision.schema is not None
            size = len(document) + length * (SCHEMA_FACTOR if nested else RESULT_FACTOR)
            self.cache.put(document, decision, size + ENTRY_BYTES)


def remember(settings: Policy, uncached: Mapping[str, Problem] | None, meter: Meter) -> dict[Moment, Remembered]:
    """What is remembered at each moment: one cache for the decisions of each rule, with equal parts of the memory.

    `uncached` is admission's word on which rules' decisions are not; None where it said nothing, and nothing is.
    """
    asked = {"request": settings.request_rule}
    if not settings.unsafe_pass_answers:
        asked["response"] = settings.response_rule
    why = {name: _reason(settings, uncached, rule) for name, rule in asked.items()}
    parts = [name for name, reason in why.items() if not reason]
    caches: dict[str, Cache[Decision]] = {
        name: Cache(settings.cache_bytes // len(parts), Tallies.of(meter, name)) for name in parts
    }
    found = {}
    for moment in Moment:
        name = "request" if moment is Moment.REQUEST else "response"
        found[moment] = Remembered(meter, moment, caches.get(name), why.get(name, "off") or "off")
    return found


def _reason(settings: Policy, uncached: Mapping[str, Problem] | None, rule: str) -> str:
    """Why decisions of a rule are not remembered; empty where they are."""
    if uncached is None or settings.cache_bytes == 0:
        return "off"
    return uncached[rule].code if rule in uncached else ""
