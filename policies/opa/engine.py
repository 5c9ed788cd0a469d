"""Decides by asking an OPA server: one request a decision, within a deadline, and only by the bundle that is meant."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Literal, overload

from lineage.chance import sixteen
from lineage.metrics import Meter
from policies.engine import AnswerMoment, Moment
from policies.envoy import read_envoy
from policies.opa.wire import (
    FAULTS,
    MAX_ANSWER,
    Answer,
    Decided,
    Fault,
    ServerError,
    Transport,
    question,
    read_plain,
    read_wrapped,
    rule_target,
)
from policies.opa.wrapper import PACKAGE, Mark
from policies.result import AnswerDecision, RequestDecision, read_answer, read_request
from policies.settings import Policy

_JSON: Final = (b"content-type", b"application/json")
_AGAIN: Final = 0.05
_Fault = tuple[Fault, str]


def asks(settings: Policy) -> tuple[tuple[bytes, Callable[[Answer], Decided]], ...]:
    """Where the server is asked for the decision on an answer, and on a request, and how what it says is read."""
    if settings.push:
        return tuple((rule_target(f"data.{PACKAGE}.{name}"), read_wrapped) for name in ("response", "request"))
    query = "strict-builtin-errors=true&provenance=true"
    rules = (settings.response_rule, settings.request_rule)
    return tuple((rule_target(rule, query), read_plain) for rule in rules)


class Link:
    """What all engines of a worker share: the connection, its bound, its measurements, and which bundle is in force."""

    def __init__(self, settings: Policy, transport: Transport, meter: Meter) -> None:
        self.settings = settings
        self.transport = transport
        self.current: Mark | None = None
        self.changed = asyncio.Event()
        self.stale: Callable[[], None] = lambda: None
        self._slots = asyncio.Semaphore(settings.connections)
        self._seconds = meter.histogram("cordon_policy_server_seconds")
        self._requests = meter.counter("cordon_policy_server_requests_total")
        self._errors = {reason: meter.counter("cordon_policy_server_errors_total", reason) for reason in FAULTS}

    async def ask(self, target: bytes, body: bytes, read: Callable[[Answer], Decided]) -> Decided:
        """One request of a decision; it is measured, and has the caller's deadline.

        A decision changes nothing, so the connection may repeat a request that a closing server did not take. The key
        that says so is another each time: a proxy in between may answer what has the same key with the same answer.
        """
        began = time.perf_counter()
        async with self._slots:
            self._requests.inc()
            once = (b"idempotency-key", sixteen().hex().encode())
            answer = await self.transport.send("POST", target, body, MAX_ANSWER, (_JSON, once))
        self._seconds.observe(time.perf_counter() - began)
        return read(answer)

    def count(self, error: ServerError) -> ServerError:
        """Count why there is no decision."""
        self._errors[error.reason].inc()
        return error


class OpaEngine:
    """One bundle in the server. `revision` is that of the bundle that gave the last answer of this engine."""

    def __init__(self, link: Link, mark: Mark) -> None:
        self._link = link
        self._mark = mark
        self._pushed = link.settings.push
        settings = link.settings
        self.revision = mark.revision
        self.tenant_revision = ""
        self.request_reads = mark.request_reads
        self.answer_reads = mark.answer_reads
        self.tokenises = mark.tokenises
        self._read_request = read_envoy if settings.result_style == "opa-envoy" else read_request
        self._pass_answers = settings.unsafe_pass_answers
        self._deadline = settings.deadline_ms / 1000
        self._asks = asks(settings)

    @overload
    async def decide(self, moment: Literal[Moment.REQUEST], document: bytes) -> RequestDecision: ...

    @overload
    async def decide(self, moment: AnswerMoment, document: bytes) -> AnswerDecision: ...

    async def decide(self, moment: Moment, document: bytes) -> RequestDecision | AnswerDecision:
        """Decide within the deadline. Decisions are not remembered: the server's bundle may change at any time."""
        request = moment is Moment.REQUEST
        if not request and self._pass_answers:
            return AnswerDecision(True)
        result = await self._ask(request, question(document))
        return self._read_request(result) if request else read_answer(result)

    async def _ask(self, request: bool, body: bytes) -> str:
        target, read = self._asks[request]
        instead: _Fault | None = None
        try:
            async with asyncio.timeout(self._deadline):
                if not self._pushed:
                    found = await self._link.ask(target, body, read)
                    self.revision = found.revision
                    return found.result
                while True:
                    found = await self._link.ask(target, body, read)
                    instead = self._unfit(found)
                    if instead is None:
                        return found.result
                    # The bundle is being pushed, or has to be: whoever does that is told, and the call waits for it.
                    self._link.stale()
                    await self._wait()
        except TimeoutError:
            late: _Fault = ("timeout", f"the OPA server did not answer within {self._deadline * 1000:g} ms")
            raise self._link.count(ServerError(*(instead or late))) from None
        except ServerError as error:
            raise self._link.count(error) from None

    def _unfit(self, found: Decided) -> _Fault | None:
        """Why this answer must not be decided by; None where the bundle that is meant gave it, or its successor."""
        if not found.mark:
            return "empty", "the OPA server does not hold the bundle; Cordon is about to put it there"
        current = self._link.current
        if found.mark == self._mark.mark:
            self.revision = self._mark.revision
            return None
        if current is not None and found.mark == current.mark:
            if not self._mark.covers(current):
                raise ServerError("revision", "the bundle was changed while the call was under way; try again")
            self.revision = current.revision
            return None
        shown = found.revision[:16] if found.revision.isalnum() else "unknown"
        return "revision", f"the OPA server holds another bundle (revision {shown}) than this Cordon"

    async def _wait(self) -> None:
        self._link.changed.clear()
        try:
            async with asyncio.timeout(_AGAIN):
                await self._link.changed.wait()
        except TimeoutError:
            return
