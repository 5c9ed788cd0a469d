"""What takes the events of a decision log, and how it says that it could not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, Self, get_args

import orjson

Fault = Literal[
    "connect", "tls", "timeout", "broke_off", "nonsense", "status", "unauthorized", "refused", "too_large",
    "credential", "file", "log", "policy", "unexpected",
]  # fmt: skip
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
"""Why events were not delivered: the label `reason` of the metric. `log`: the log or the state could not be read;
`policy`: the OPA server, which alone knows what to mask, does not answer."""


class Undelivered(Exception):
    """Nothing of what was given was taken, or nobody knows. `reason` is one of `FAULTS`; it is tried again."""

    def __init__(self, reason: Fault, detail: str) -> None:
        super().__init__(detail)
        self.reason: Fault = reason


@dataclass(frozen=True, slots=True)
class Entry:
    """One event: the index of its record, and its JSON text, which is one line."""

    index: int
    line: bytes

    def lighter(self) -> Self | None:
        """The event without its largest part that may be left out, which is then listed as erased.

        First the input, then the result; None where neither is there any more.
        """
        event = orjson.loads(self.line)
        for part in ("input", "result"):
            if part in event:
                del event[part]
                event["erased"] = [*event.get("erased", ()), f"/{part}"]
                return replace(self, line=orjson.dumps(event))
        return None


class Sink(Protocol):
    """A collector or a file."""

    async def deliver(self, entries: Sequence[Entry]) -> int:
        """Take as many of the entries, in their order, as go at once: how many, at least one of them.

        They are kept where they are meant to be when it returns. Raises Undelivered.
        """
        ...
