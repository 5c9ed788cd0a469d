"""What an answer's inspection has found so far, and what of it policy has not been asked about."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from gateway.content.request import POINTERS, TypeSummary

BINDING: Final = ("blocked_pattern:", "too_long", "wrong_shape")
"""Findings that break what the answer's plan demands: nobody can allow them afterwards."""


class Ask(NamedTuple):
    """A first finding of each of `types`: policy must decide before the answer goes on. `binding`: it must be no."""

    types: tuple[str, ...]
    summary: dict[str, TypeSummary]
    binding: bool


class Findings:
    """Counts by type."""

    def __init__(self) -> None:
        self._summary: dict[str, TypeSummary] = {}
        self._new: list[str] = []

    def add(self, kind: str, confidence: int, pointer: str) -> None:
        """Count one finding."""
        entry = self._summary.get(kind)
        if entry is None:
            entry = self._summary[kind] = TypeSummary(count=0, confidence=0, pointers=[])
            self._new.append(kind)
        entry["count"] += 1
        entry["confidence"] = max(entry["confidence"], confidence)
        if len(entry["pointers"]) < POINTERS and pointer not in entry["pointers"]:
            entry["pointers"].append(pointer)

    @property
    def types(self) -> Collection[str]:
        """The types found so far."""
        return self._summary.keys()

    @property
    def pending(self) -> bool:
        """Whether a type was found that nobody was asked about."""
        return bool(self._new)

    def ask(self) -> Ask:
        """The question for the new types, which count as asked from now on."""
        types, self._new = tuple(self._new), []
        return Ask(types, self.summary(), any(kind.startswith(BINDING) for kind in types))

    def summary(self) -> dict[str, TypeSummary]:
        """A copy of the counts, confidences and places by type."""
        return {
            kind: TypeSummary(count=entry["count"], confidence=entry["confidence"], pointers=list(entry["pointers"]))
            for kind, entry in self._summary.items()
        }
