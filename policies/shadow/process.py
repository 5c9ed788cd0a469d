"""The shadow process of a worker: it evaluates bundles in shadow on what it is sent, and answers with the differences.

It is of the lowest priority, and an alarm ends it when one frame takes too long, whatever the engine does then. It
ends with its worker: its standard input ends, and what it was evaluating has that alarm.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import orjson

from policies.bundle import Bundle
from policies.combine import Decision, combine
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.errors import PolicyError, Problem
from policies.processes import limit
from policies.result import AnswerDecision, Reason, RequestDecision
from policies.settings import Policy
from policies.shadow.compare import Difference, differences
from policies.shadow.wire import LONGEST_ANSWER, Frames, decision_of, moment_of

MEMORY: Final = 2 << 30
SECONDS: Final = 2.0
"""Longest time that one decision may take, far above what admission lets through (`policy.decision_ms`)."""
LOAD_SECONDS: Final = 30.0
_PIECE: Final = 1 << 16
_LONGEST_RULE: Final = 200
MADE_UP: Final = "(made up)"
"""What stands for the name of a rule or a label that is no literal of the bundle."""
_NAMES: Final = re.compile(r'["`]([A-Za-z0-9_.:/ -]{1,100})["`]')


class Candidates:
    """The bundles in shadow by the id of their roll-out: each decides as the common half, or as the tenant's own.

    Nobody but its author need have seen such a bundle, and it sees what callers send. So of a rule's name, only one
    that stands in its source as a literal goes out; any other, which it may have made of the input, does not. The same
    holds of a label's name, and of what a label says nothing goes out at all.
    """

    def __init__(self) -> None:
        self._engines: dict[str, tuple[str, EmbeddedEngine, frozenset[str]]] = {}

    def take(self, header: dict[str, Any], body: bytes) -> list[Difference] | None:
        """Do what a frame says; the differences of a decision that is tried."""
        if "load" in header:
            value = orjson.loads(body)
            self._engines[header["load"]] = (header["scope"], _engine(header, value), _literals(value))
        elif "drop" in header:
            self._engines.pop(header["drop"], None)
        else:
            return list(self._tried(header, body))
        return None

    def _tried(self, header: dict[str, Any], document: bytes) -> Iterator[Difference]:
        moment = moment_of(header)
        common, own = decision_of(header["common"], moment), decision_of(header["own"], moment)
        assert common is not None
        scope, engine, literals = self._engines[header["try"]]
        try:
            candidate = engine.decide_now(moment, document)
        except PolicyError as error:
            yield "error", "policy_failed"
            candidate = _denied(moment, Reason("policy_failed", str(error)))
        else:
            candidate = replace(candidate, reasons=tuple(_named(each, literals) for each in candidate.reasons))
        value = orjson.loads(document)
        findings = value.get("content", {}).get("findings", {})
        candidates = [each["id"] for each in value.get("candidates", ())]
        before = common if own is None else combine(common, own)
        after = combine(common, candidate) if scope else candidate if own is None else combine(candidate, own)
        labels = literals | before.labels.keys()
        for kind, what in differences(before, after, findings, candidates):
            yield kind, what if kind != "label" or what in labels else MADE_UP


def _engine(header: dict[str, Any], value: dict[str, Any]) -> EmbeddedEngine:
    bundle = Bundle(**value, tests={}, data_json=orjson.dumps(value["data"]).decode())
    settings = Policy(**header["settings"])
    uncached = {rule: Problem(".", 0, 0, code, "") for rule, code in header["uncached"].items()}
    return EmbeddedEngine(bundle, settings, uncached=uncached)


def _literals(value: dict[str, Any]) -> frozenset[str]:
    """The names that stand between quotes in a bundle's rules and data."""
    texts = (*value["modules"].values(), orjson.dumps(value["data"]).decode())
    return frozenset(found for text in texts for found in _NAMES.findall(text))


def _named(reason: Reason, literals: frozenset[str]) -> Reason:
    return Reason(reason.rule if not reason.rule or reason.rule in literals else MADE_UP, "")


def _denied(moment: Moment, reason: Reason) -> Decision:
    return RequestDecision(False, (reason,)) if moment is Moment.REQUEST else AnswerDecision(False, (reason,))


def answer(found: list[Difference] | None) -> bytes:
    """The line that answers a frame, never longer than what the worker reads."""
    shown = None if found is None else [(kind, rule[:_LONGEST_RULE]) for kind, rule in found]
    line = orjson.dumps(shown) + b"\n"
    return line if len(line) <= LONGEST_ANSWER else b'[["error","too_many"]]\n'


def main(progress: int) -> None:
    """Serve frames until standard input ends. `progress`: a file that says how many were begun, should one be the end.

    Answers are written for many frames at once, so that they do not wake the worker for each.
    """
    limit(MEMORY)
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the supervisor
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process even inside the engine
    frames, candidates, begun = Frames(), Candidates(), 0
    while data := os.read(0, _PIECE):
        lines = []
        for header, body in frames.feed(data):
            begun += 1
            os.pwrite(progress, begun.to_bytes(8, "big"), 0)
            signal.setitimer(signal.ITIMER_REAL, LOAD_SECONDS if "load" in header else SECONDS)
            lines.append(answer(candidates.take(header, body)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(b"".join(lines))


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except BrokenPipeError:
        sys.exit(0)
