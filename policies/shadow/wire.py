"""What a worker and its shadow process say to each other, over pipes.

The worker sends frames: two big-endian lengths of four bytes, a header (JSON) and a body (bytes).

    {"load": ID, …}, body: the bundle (JSON)                       examined already, in the form that is served
    {"drop": ID}
    {"try": ID, "moment", "call", "common", "own"}, body: document  both halves of the decision as it was made

The process answers each frame, in order, by one line of JSON: a list of differences `[kind, rule]`, or null where it
was no frame to be tried. Nothing else comes back, and of a document nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from policies.combine import Decision
from policies.engine import Moment
from policies.result import AnswerDecision, BlockPattern, Reason, RequestDecision

LARGEST_FRAME: Final = 64 << 20
LONGEST_ANSWER: Final = 65_536
_HEAD: Final = 8


def frame(header: Mapping[str, object], body: bytes = b"") -> bytes:
    """One frame."""
    text = orjson.dumps(header, default=_plain)
    return b"%b%b%b%b" % (len(text).to_bytes(4, "big"), len(body).to_bytes(4, "big"), text, body)


class Frames:
    """Takes bytes as they come, yields frames as they are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The frames that are complete now; ValueError for one that is too large."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while len(buffer) - at >= _HEAD:
                head = int.from_bytes(buffer[at : at + 4], "big")
                size = int.from_bytes(buffer[at + 4 : at + _HEAD], "big")
                if head + size > LARGEST_FRAME:
                    raise ValueError("a frame is too large")
                end = at + _HEAD + head + size
                if len(buffer) < end:
                    return
                start, at = at + _HEAD, end
                yield orjson.loads(buffer[start : start + head]), bytes(buffer[start + head : end])
        finally:
            del buffer[:at]


def moment_of(header: Mapping[str, Any]) -> Moment:
    """The moment that a frame to be tried is of."""
    return Moment(header["moment"])


def decision_of(value: dict[str, Any] | None, moment: Moment) -> Decision | None:
    """A half of a decision as it was sent; None: there is no bundle of that half."""
    if value is None:
        return None
    reasons = tuple(Reason(**each) for each in value["reasons"])
    if moment is Moment.REQUEST:
        endpoints = value["endpoints"]
        whole = value | {"reasons": reasons, "endpoints": None if endpoints is None else tuple(endpoints)}
        return RequestDecision(**whole)
    block = tuple(BlockPattern(*each) for each in value["block"])
    return AnswerDecision(**(value | {"reasons": reasons, "block": block}))


def _plain(value: object) -> object:
    """What orjson does not write by itself."""
    if isinstance(value, BlockPattern):
        return [*value]
    if isinstance(value, MappingProxyType):
        return {**value}
    raise TypeError(type(value).__name__)
