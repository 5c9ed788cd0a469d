"""What follows the log: the interface of a consumer, and what it wants to have written.

A consumer is a pure function of the records it is shown. It neither reads a clock nor writes anything; what it wants
written it returns as emissions, whose ids come from the evidence alone. So the same records give the same emissions,
and one that is repeated after a crash is known by its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from sqlalchemy import Executable

Fields = Mapping[str, object]

ID_FIELDS: Final[Mapping[bytes, str]] = {
    b"alert.raised": "alert",
    b"containment.applied": "containment",
    b"process.lost": "lost_boot",
}
"""The kinds that a consumer may emit, and the field by which one that was written is known again."""


@dataclass(frozen=True, slots=True)
class Emission:
    """A record that is to be written once.

    `decide` is called with the wall clock (ms since the epoch) at the moment of writing; it yields the record's fields
    without the common head, or None when nothing is to be written any more.
    """

    kind: bytes
    id: str
    decide: Callable[[int], Fields | None]


class Consumer:
    """One reader of the log. Subclasses name themselves and the record kinds they are shown.

    `version` is that of the snapshot's shape: a stored snapshot of another version is not restored.
    """

    name: ClassVar[str]
    kinds: ClassVar[frozenset[bytes]]
    version: ClassVar[int] = 1
    whole_log: ClassVar[bool] = False
    """Whether it starts at the log's first record where no place is stored; otherwise near the end."""

    def observe(self, index: int, kind: bytes, record: bytes) -> Iterable[Emission]:
        """Take in one record; records come in the order of the log, each at least once."""
        raise NotImplementedError

    def snapshot(self) -> Fields:
        """All that the consumer has learned, as plain JSON values."""
        return {}

    def restore(self, snapshot: Fields) -> None:
        """Go on from what `snapshot` returned."""

    def writes(self) -> Sequence[Executable]:
        """Statements for what was projected since the last time; one transaction with the place in the log.

        They may be executed twice, and must then have the effect of once.
        """
        return ()


def derived_id(prefix: str, *parts: object) -> str:
    """An id that depends on `parts` alone: the prefix, a hyphen and 20 hex digits."""
    text = "\0".join(str(part) for part in parts)
    return f"{prefix}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:20]}"
