"""A detector: metadata, logic and its positive and negative cases, side by side in one file each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

import orjson

from detectors.consumer import Consumer

S = TypeVar("S")

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Case:
    """What a detector makes of some records, at its default settings but for `settings`.

    `subjects` are those of the alerts that are expected, in order; none means that it must stay silent.
    """

    name: str
    records: Sequence[Facts]
    subjects: Sequence[str] = ()
    settings: Mapping[str, object] = field(default_factory=dict)


class Detector(Consumer):
    """Base of the detectors.

    `title` says what is detected, `meaning` what it usually means, `remedy` what a person should do about it.
    """

    title: ClassVar[str]
    meaning: ClassVar[str]
    remedy: ClassVar[str]
    cases: ClassVar[Sequence[Case]]


class Subjects(Generic[S]):
    """What is known of each subject, bounded: the one that was heard of least recently is forgotten."""

    def __init__(self, limit: int, make: Callable[[], S]) -> None:
        self._limit = limit
        self._make = make
        self._known: OrderedDict[str, S] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def of(self, subject: str) -> S:
        """The subject's state, a new one where it is not known."""
        state = self._known.get(subject)
        if state is None:
            if len(self._known) >= self._limit:
                self._known.popitem(last=False)
            state = self._known[subject] = self._make()
        else:
            self._known.move_to_end(subject)
        return state

    def forget(self, subject: str) -> None:
        """Know nothing of the subject any more."""
        self._known.pop(subject, None)

    def items(self) -> list[tuple[str, S]]:
        """All subjects, the least recent first."""
        return list(self._known.items())

    def put(self, subject: str, state: S) -> None:
        """Set a subject's state, as the most recent; the bound holds."""
        self._known[subject] = state
        while len(self._known) > self._limit:
            self._known.popitem(last=False)


def parse(record: bytes) -> dict[str, object]:
    """A record as a mapping; the log holds nothing but objects."""
    facts = orjson.loads(record)
    assert isinstance(facts, dict)
    return facts


def text(facts: Facts, name: str) -> str:
    """The field `name` where it is text, otherwise an empty one."""
    value = facts.get(name)
    return value if isinstance(value, str) else ""


def number(facts: Facts, name: str) -> int:
    """The field `name` where it is a whole number, otherwise 0."""
    value = facts.get(name)
    return value if type(value) is int else 0
