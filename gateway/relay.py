"""One attempt: its intent, then its answer, decided, inspected and recorded before its end is given out.

    intent committed -> head -> decision (the plan) -> pieces -> inspector -> client
                                                 new type of finding -> decision (can only get stricter)
    end -> decision -> outcome committed -> the held rest -> client

Until the outcome is committed the client lacks at least the answer's terminal part.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from gateway.answer_stream import AnswerStream, Headers
from gateway.call import LARGE, Call, Services
from gateway.content.answer import AnswerInspector, AnswerLimits, AnswerPlan, Emit
from gateway.content.errors import ContentError
from gateway.content.findings import Ask
from gateway.content.json_text import Json
from gateway.content.media import read_media_type
from gateway.document import Content
from gateway.errors import Refusal, UpstreamError
from gateway.headers import to_client
from gateway.kept import NOTHING
from gateway.records import Verdict, microseconds, outcome
from gateway.refusals import error_event
from gateway.routing import DECLINED
from gateway.settings import Endpoint
from lineage.errors import LineageError
from lineage.record import encode
from policies.combine import asks_more
from policies.engine import AnswerMoment, Moment
from policies.errors import BundleUnavailable, PolicyError
from policies.opa.wire import ServerError
from policies.result import AnswerDecision, Reason
from policies.watched import Watched

Reasons = Sequence[Mapping[str, str]]


class Declined(Exception):
    """The upstream did not take the call, and the next candidate is to be tried."""


class Relay:
    """One attempt at an endpoint. `begin`, then `run`; `cut` where the call ends from outside."""

    def __init__(self, services: Services, call: Call, endpoint: Endpoint, attempt: int) -> None:
        self._services = services
        self._call = call
        self._endpoint = endpoint
        self._attempt = attempt
        self._intent: int | None = None
        self._recorded = False
        self._status = 0
        self._headers: Headers = ()
        self._fields: dict[bytes, bytes] = {}
        self._media_type = ""
        self._inspector: AnswerInspector | None = None
        self._redact: dict[str, str] = {}
        self._document = b""
        self._decided_us = 0
        self._planned = AnswerDecision(False)
        self._held = 0
        self._size = 0
        self._digest = call.secrets.running_digest()
        self._began = time.perf_counter()

    async def begin(self, intent: bytes, side: bytes | None) -> None:
        """Commit the intent; nothing is sent before. Raises Refusal where the log does not take it."""
        began = time.perf_counter()
        call = self._call
        call.committing = True
        try:
            self._intent = await self._services.log.append(intent, side=side)
        except LineageError as error:
            if self._services.kept is not None:
                self._services.kept.forget()
            raise Refusal(503, "lineage", "log_unavailable", f"The call could not be recorded: {error}") from error
        finally:
            call.committing = False
        call.recorded = True
        if side is not None and self._services.kept is not None:
            self._services.kept.sent(call.kept)
        if call.cut is not None:
            raise call.cut
        self._services.steps.intent.observe(time.perf_counter() - began)

    async def run(self, stream: AnswerStream, others: bool, may_repeat: bool) -> None:
        """Relay the answer. Raises Declined, or Refusal where the client has been sent nothing yet.

        `others`: another candidate is left; `may_repeat`: it may be tried even when this upstream had the request.
        """
        health, steps = self._services.health, self._services.steps
        began = time.perf_counter()
        try:
            self._status, self._headers = await stream.head()
            self._fields = dict(self._headers)
            steps.first_byte.observe(time.perf_counter() - began)
            if self._status in DECLINED and others and may_repeat:
                health.failed(self._endpoint.id)
                await self._record(
                    "failed", [_reason("declined", f"the upstream answered {self._status}")], final=False
                )
                raise Declined
            await self._relay(stream)
        except UpstreamError as error:
            health.failed(self._endpoint.id)
            again = others and not error.sent
            if again:
                await self._record("failed", [_reason(error.kind, error.detail)], final=False)
                raise Declined from error
            code = "upstream_broke_off" if self._status else "upstream_failed"
            await self._break(
                Refusal(502, "upstream", code, f"The upstream failed ({error.kind}): {error.detail}"), "failed"
            )
        except ContentError as error:
            await self._break(
                Refusal(502, "inspection", error.code, f"The upstream's answer: {error.detail}"), "failed"
            )
        except PolicyError as error:
            await self._break(undecided(error), "blocked")
        else:
            health.succeeded(self._endpoint.id)
        finally:
            self._hold(0)

    def cut(self, why: Refusal) -> None:
        """The call ends from outside: its outcome is appended, without waiting, and a stream gets its error event."""
        if self._intent is None or self._recorded:
            return
        self._recorded = True
        self._services.append_later(self._outcome("cut", [_reason(why.code, why.detail)], final=True))
        if self._call.exchange.started:
            self._tell(why)
            self._call.exchange.abort()

    # The answer ------------------------------------------------------------------------------------------------------

    async def _relay(self, stream: AnswerStream) -> None:
        if self._call.route.kind == "model" and self._header(b"location") and 300 <= self._status < 400:
            # Vendors' SDKs follow, and would show the caller's key to whatever server is named.
            text = "The upstream points to another address; a model route passes no redirect on."
            await self._break(Refusal(502, "upstream", "redirect", text), "blocked")
            return
        content_type = self._header(b"content-type")
        self._media_type = read_media_type(content_type).name
        decision = await self._decide(Moment.ANSWER_HEAD)
        if not decision.allow:
            await self._break(_refused(decision.reasons), "blocked")
            return
        self._redact.update(decision.redact)
        self._planned = decision
        limits = self._call.setup.limits
        inspector = self._inspector = AnswerInspector(
            dialect=self._call.dialect,
            status=self._status,
            media_type=content_type,
            content_encoding=self._header(b"content-encoding"),
            scanner=self._services.scanner,
            plan=_plan(decision),
            key=self._call.secrets.hash_key,
            limits=AnswerLimits(buffered=limits.answer, ratio=limits.decoded_ratio),
            restorer=self._call.tokens.restorer,
        )
        loop = asyncio.get_running_loop()
        while True:
            data = await stream.read()
            began = time.perf_counter()
            if data is not None:
                inspector.feed(data)
                self._hold(inspector.held)
            if data is None or stream.at_end():
                inspector.end()
            steps = inspector.steps()
            threads = self._call.tokens.threads
            aside = threads is not None or inspector.held > LARGE
            while (
                step := await loop.run_in_executor(threads, next, steps, None) if aside else next(steps, None)
            ) is not None:
                if isinstance(step, Emit):
                    await self._emit(step.data)
                elif isinstance(step, Ask):
                    decision = await self._decide_again(Moment.FINDING)
                    self._redact.update(decision.redact)
                    inspector.answer(decision.allow, decision.redact)
                    if inspector.blocked:
                        await self._break(_refused(decision.reasons or _broken(step)), "blocked")
                        return
                else:
                    await self._finish(inspector, step.data)
                    return
            self._services.steps.answer_inspection.observe(time.perf_counter() - began)

    async def _decide(self, moment: AnswerMoment) -> AnswerDecision:
        began = time.perf_counter()
        call, inspector = self._call, self._inspector
        answer = Content(self._media_type, 0, {})
        model = ""
        if inspector is not None:
            answer = Content(self._media_type, inspector.received, inspector.summary())
            model = inspector.model or ""
        engine, endpoint = call.engine, self._endpoint.id
        documents = call.setup.documents
        make = partial(documents.answer, moment, call.subject, endpoint, call.content, answer, self._status, model)
        self._document = make(reads=engine.answer_reads)
        asked = time.perf_counter()
        try:
            decision = await engine.decide(moment, self._document)
        finally:
            self._decided_us = microseconds(asked)
            if isinstance(engine, Watched):
                engine.tell(moment, 0, make)
        call.facts.policy = engine.revision
        self._services.steps.answer_decision.observe(time.perf_counter() - began)
        return decision

    async def _decide_again(self, moment: AnswerMoment) -> AnswerDecision:
        """A decision after the one at the head, which alone can plan: a later one that plans more cannot be obeyed."""
        decision, planned = await self._decide(moment), self._planned
        if asks_more(decision, planned):
            raise PolicyError(f"it asks at {moment} for what only the decision at the answer's head can ask")
        return decision

    async def _emit(self, piece: bytes) -> None:
        exchange = self._call.exchange
        if not exchange.started:
            exchange.start(self._status, self._answer_headers(), None)
        self._count(piece)
        exchange.write(piece)
        if not exchange.writable:
            await exchange.drained()

    async def _finish(self, inspector: AnswerInspector, rest: bytes) -> None:
        if not inspector.complete:
            text = "The upstream's answer stops before its end."
            await self._break(Refusal(502, "upstream", "upstream_broke_off", text), "failed")
            return
        decision = await self._decide_again(Moment.ANSWER_END)
        missed = [kind for kind in inspector.types if kind in decision.redact and kind not in self._redact]
        if missed:
            raise PolicyError(f"it asks to redact {', '.join(missed)} at the end, when that is with the client already")
        if not decision.allow:
            await self._break(_refused(decision.reasons), "blocked")
            return
        self._count(rest)
        await self._record("allowed", [], final=True)
        exchange = self._call.exchange
        if not exchange.started:
            # What a GET would have as its length is not known to whoever answers a HEAD.
            length = None if exchange.head.method == "HEAD" else len(rest)
            exchange.start(self._status, self._answer_headers(), length)
        exchange.write(rest)
        exchange.end()

    async def _break(self, refusal: Refusal, verdict: Verdict) -> None:
        """Nothing more of the upstream's answer goes out: an error takes its place, after the outcome is committed."""
        await self._record(verdict, refusal.reasons or [_reason(refusal.code, refusal.detail)], final=True)
        exchange = self._call.exchange
        if not exchange.started:
            raise refusal
        self._tell(refusal)
        if verdict == "blocked" and self._is_stream():
            exchange.end()
        else:
            exchange.abort()

    def _tell(self, refusal: Refusal) -> None:
        if self._is_stream():
            exchange = self._call.exchange
            number = None if self._inspector is None else self._inspector.sequence
            event = error_event(
                refusal, dialect=exchange.dialect, call=exchange.call, pages=exchange.pages, sequence=number
            )
            exchange.write(event)

    # The record ------------------------------------------------------------------------------------------------------

    async def _record(self, verdict: Verdict, reasons: Reasons, *, final: bool) -> None:
        self._recorded = True
        # After an outcome that is not final the call may still be refused, and then has to say so.
        self._call.recorded = final
        began = time.perf_counter()
        inputs = self._services.kept
        # An answer's document has counts and places of findings, and nothing of the text: there is nothing to mask.
        kept = NOTHING
        if inputs is not None and self._document:
            kept = inputs.keep(self._call.secrets, self._document)
        record = self._outcome(verdict, reasons, final=final, side=kept.digest)
        try:
            await self._services.log.append(encode(record), side=kept.blob)
        except LineageError as error:
            if inputs is not None:
                inputs.forget()
            text = f"The call's outcome could not be recorded: {error}"
            raise Refusal(503, "lineage", "log_unavailable", text) from error
        if inputs is not None and kept.blob is not None:
            inputs.sent(kept)
        self._services.steps.outcome.observe(time.perf_counter() - began)

    def _outcome(self, verdict: Verdict, reasons: Reasons, *, final: bool, side: str = "") -> dict[str, object]:
        inspector = self._inspector
        findings = (
            {kind: found["count"] for kind, found in inspector.summary().items()} if inspector is not None else {}
        )
        self._call.verdict = verdict
        return outcome(
            self._call.facts,
            self._attempt,
            self._endpoint.id,
            -1 if self._intent is None else self._intent,
            status=self._status,
            verdict=verdict,
            received={"bytes": self._size, "digest": self._digest.hexdigest()},
            findings=findings,
            redacted={kind: how for kind, how in self._redact.items() if kind in findings},
            reasons=reasons,
            model=inspector.model or "" if inspector is not None else "",
            milliseconds=int((time.perf_counter() - self._began) * 1000),
            final=final,
            restored=self._call.tokens.count_restored() if inspector is not None else 0,
            side=side,
            decided_us=self._decided_us,
        )

    def _hold(self, count: int) -> None:
        """Account for the bytes of the answer that wait for its end, or for a decision."""
        if not self._services.budget.take(count - self._held):
            raise Refusal(503, "limits", "memory", "The gateway's buffers are full; try again.")
        self._held = count

    def _count(self, piece: bytes) -> None:
        self._size += len(piece)
        self._digest.update(piece)

    def _answer_headers(self) -> list[tuple[bytes, bytes]]:
        headers = to_client(self._headers, self._call.route)
        headers.append((b"x-cordon-call", self._call.id.encode()))
        headers.append((b"x-cordon-decision", b"redacted" if self._call.facts.redacted else b"allowed"))
        headers.append((b"x-cordon-log-index", b"%d" % (self._intent or 0)))
        return headers

    def _header(self, name: bytes) -> str:
        return self._fields.get(name, b"").decode("latin-1")

    def _is_stream(self) -> bool:
        return self._media_type == "text/event-stream"


def undecided(error: PolicyError) -> Refusal:
    """The refusal of a call that policy could not decide on; where its server is at fault, trying again may help."""
    if isinstance(error, ServerError) and error.reason != "evaluation":
        return Refusal(503, "decision", "policy_unavailable", f"Policy could not be asked: {error}")
    if isinstance(error, BundleUnavailable):
        return Refusal(503, "decision", "bundle_unavailable", f"The policy that decides this call is missing: {error}")
    return Refusal(403, "decision", "policy_failed", f"Policy could not decide: {error}")


def _reason(rule: str, detail: str) -> dict[str, str]:
    return {"rule": rule, "detail": detail}


def _plan(decision: AnswerDecision) -> AnswerPlan:
    return AnswerPlan(
        redact=decision.redact,
        block=decision.block,
        max_chars=decision.limits.get("max_chars"),
        schema=cast("dict[str, Json] | None", decision.schema),
        mode=decision.plan,
    )


def _broken(asked: Ask) -> list[Reason]:
    """Why an answer ends that its own plan forbids, whatever the later decision says."""
    return [Reason(kind, "The answer breaks what policy demanded of it at its head.") for kind in asked.types]


def _refused(reasons: Sequence[Reason]) -> Refusal:
    told = [reason.as_dict() for reason in reasons]
    return Refusal(403, "decision", "answer_refused", "Policy refused the answer.", told)
