"""The way of a call, step by step. Whoever reads one file of the gateway reads this one.

    on_head     1 route   2 identity   3 containment                       before a byte of the body is taken
    on_request  4 choose the bundles, inspect the content  5 decide
                6 redact and commit the intent                             for each attempt
                7 look at identity and containment once more
                8 send, and relay the answer (gateway/relay.py)

Each step either hands on or raises `Refusal`; nothing else ends a call early, and an unforeseen error refuses as well.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from dataclasses import replace
from functools import partial

from gateway.answer_stream import AnswerStream
from gateway.call import LARGE, Call, Services, Setup, log
from gateway.containment import Isolation
from gateway.content.errors import ContentError
from gateway.content.request import ContentLimits, RequestContent, read_body
from gateway.document import Content, Subject, shows_headers
from gateway.errors import Refusal
from gateway.exchange import Exchange
from gateway.headers import to_upstream
from gateway.identity import caller, confirm
from gateway.kept import NOTHING
from gateway.operations import operation_of
from gateway.records import intent, microseconds, refused
from gateway.relay import Declined, Relay, undecided
from gateway.routing import ordered, repeatable, upstream_target
from gateway.settings import Endpoint
from gateway.tokens import CallTokens
from gateway.tracing import continued
from lineage.clock import Terms, latest
from lineage.control import ControlState
from lineage.errors import LineageError
from lineage.record import encode
from policies.engine import Moment
from policies.errors import PolicyError
from policies.result import RequestDecision
from policies.watched import Watched

STATUS_OF_CONTENT = {"too_large": 413, "encoding": 415}


class Gateway:
    """The handler behind the listener: one task for each call, and the calls in flight by their id."""

    def __init__(self, services: Services, setup: Setup) -> None:
        self._services = services
        self._live: dict[str, Call] = {}
        self._terms = Terms(services.log.control)
        self._isolation = Isolation(services.log.control, self._terms)
        self._keys = _key_ids(services.log.control)
        self.setup = setup

    def on_head(self, exchange: Exchange) -> int:
        """Steps 1 to 3; the largest body that this call may have, in bytes."""
        call = Call(exchange, self.setup, self._services.boot)
        try:
            limit = self._admit(call)
        except Refusal as refusal:
            self._refused_early(call, refusal)
            raise
        exchange.context = call  # only now: else the two would name each other for good
        self._services.steps.admission.observe(time.perf_counter() - call.began)
        return limit

    def on_request(self, exchange: Exchange) -> None:
        """The whole request is there: steps 4 to 8 run as a task of their own."""
        call: Call = exchange.context
        self._live[call.id] = call
        call.task = asyncio.get_running_loop().create_task(self._run(call))

    def on_disconnect(self, exchange: Exchange) -> None:
        """The client is gone or the call took too long: whatever still runs for it ends."""
        call: Call | None = exchange.context
        if call is not None and call.task is None:
            exchange.context = None  # it went before its whole request was there
        elif call is not None:
            text = "The client left before the answer's end, or the call took longer than it may."
            self._cut(call, Refusal(499, "client", "client_gone", text))

    def on_control(self, state: ControlState) -> None:
        """Containments or keys have changed: live calls of whoever is contained or revoked are cut at once."""
        self._terms.take_up(state)
        self._isolation = Isolation(state, self._terms)
        self._keys = _key_ids(state)
        self.check_live()

    def check_live(self) -> None:
        """Cut the live calls of whoever is contained, revoked or expired; called now and then for what expires."""
        for call in list(self._live.values()):
            try:
                self._check_standing(call)
            except Refusal as refusal:
                self._cut(call, refusal.with_traceback(None))

    async def settled(self) -> None:
        """Return when no call runs any more: after every connection was closed, for what each has to record."""
        while tasks := [call.task for call in self._live.values() if call.task is not None]:
            await asyncio.wait(tasks)

    def let_go(self) -> None:
        """Let go of content and keys that are remembered and whose time is over; called now and then."""
        self._services.secrets.sweep()
        if self._services.kept is not None:
            self._services.kept.sweep()

    def record_counted(self) -> None:
        """Record the refusals that were only counted since the last time; called now and then."""
        for record, give_back in (*self._services.unknown.drain(), *self._services.known.drain()):
            self._services.append_later(record, give_back)

    # Before the body -------------------------------------------------------------------------------------------------

    def _admit(self, call: Call) -> int:
        head, setup = call.exchange.head, call.setup
        found = setup.routes.find(head.host, head.path)
        if found is not None:
            call.route, prefix = found
            call.facts.route = call.route.id
            call.target = head.target[prefix:]
            call.operation = operation_of(call.route.dialect, head.method, head.path[prefix:])
            call.dialect = call.route.dialect if call.operation else ""
            call.exchange.dialect = call.route.dialect
        key_header = "authorization" if found is None else call.route.key_header
        keys = self._services.log.control.keys
        call.principal = caller(head, key_header, call.exchange.peer, keys, setup.tenants, latest())
        call.facts.principal = call.principal
        call.facts.trace, call.facts.span, call.traceparent = continued(head.value(b"traceparent"))
        self._check_standing(call)
        if found is None:
            raise Refusal(404, "routing", "no_route", "No route of this gateway has this address.")
        limit = call.route.body_limit
        call.body_limit = setup.limits.body if limit is None else limit
        return call.body_limit

    def _check_standing(self, call: Call) -> None:
        """Whether the tenant, key and certificate still stand, and neither principal nor endpoint is isolated."""
        if self._isolation.is_erased(call.principal.tenant):
            raise Refusal(
                403, "identity", "tenant_erased", "This tenant was erased; nothing is called for it any more."
            )
        confirm(call.principal, call.exchange.peer, self._keys, latest())
        found = self._isolation.principal(call.principal.id)
        if found is None and call.endpoint:
            found = self._isolation.endpoint(call.endpoint)
        if found is not None:
            what = "This caller" if found.target_type == "principal" else "This endpoint"
            detail = f"{what} is isolated ({found.id}); an analyst can release it on the console."
            raise Refusal(403, "containment", "contained", detail)

    def _refused_early(self, call: Call, refusal: Refusal) -> None:
        if call.facts.principal is None:
            self._services.unknown.count(call.exchange.client, refusal.code)
        elif self._services.known.is_single(call.facts, refusal):
            call.facts.path = ""
            self._services.append_later(refused(call.facts, refusal.stage, refusal.status, _reasons(refusal)))
        self._services.meter.inc("cordon_calls_total", (call.facts.route, "refused"))

    # The task of a call ----------------------------------------------------------------------------------------------

    async def _run(self, call: Call) -> None:
        call.running = True
        try:
            if call.cut is not None:
                raise call.cut
            await self._serve(call)
        except (Exception, asyncio.CancelledError) as error:
            why = _why(call, error)
            call.committing = True  # how it ends is settled: nothing cuts it from here on
            # What it came through names the call, and names it in turn.
            error.__traceback__ = why.__traceback__ = why.__context__ = None
            await self._refuse(call, why)
        finally:
            self._live.pop(call.id, None)
            # Else exchange, call and task would name each other, and wait for the garbage collector: that takes long
            # when it comes, and all calls of the worker wait for it.
            call.exchange.context = call.task = None
            tokens: CallTokens | None = getattr(call, "tokens", None)
            if tokens is not None:
                tokens.close()
            self._services.meter.inc("cordon_calls_total", (call.facts.route, call.verdict))
            self._services.steps.whole.observe(time.perf_counter() - call.began)

    async def _serve(self, call: Call) -> None:
        tenant = call.principal.tenant
        try:
            call.engine = await self._services.policy.choose(tenant, call.id)
        except PolicyError as error:
            raise undecided(error) from error
        call.secrets = await self._services.secrets.of(tenant)
        content = await self._inspect(call)
        candidates = self._candidates(call)
        decision = await self._decide(call, content, candidates)
        endpoints = ordered(candidates, decision.endpoints)
        if not endpoints:
            raise Refusal(403, "decision", "no_endpoint", "Policy allows none of the route's endpoints for this call.")
        head = call.exchange.head
        may_repeat = repeatable(call.route, head.method, bool(head.value(b"idempotency-key")))
        for attempt, endpoint in enumerate(endpoints, 1):
            try:
                await self._attempt(call, endpoint, attempt, content, decision, attempt < len(endpoints), may_repeat)
            except Declined:
                continue
            return

    async def _inspect(self, call: Call) -> RequestContent:
        """Step 4: the content, decoded, parsed and scanned; what cannot be read ends the call."""
        began = time.perf_counter()
        exchange, head = call.exchange, call.exchange.head
        services = self._services
        call.tokens = await services.tokens.of(
            call.secrets, call.principal.id, head, services.scanner, tokenises=call.engine.tokenises
        )
        scanner = call.tokens.scanner
        try:
            content = read_body(
                head.value(b"content-type"),
                head.value(b"content-encoding"),
                exchange.body,
                dialect=call.dialect,
                json_only=call.route.kind == "model",
                limits=ContentLimits(call.body_limit, call.setup.limits.decoded_ratio),
            )
            if content.size > LARGE:
                await asyncio.to_thread(content.scan, scanner)
            else:
                content.scan(scanner)
        except ContentError as error:
            status = STATUS_OF_CONTENT.get(error.code, 400)
            raise Refusal(status, "inspection", error.code, f"The request's body: {error.detail}") from error
        address = call.address = services.addresses.read(head.path, head.query, scanner)
        summary = address.add_to(content.summary())
        call.facts.findings = {kind: found["count"] for kind, found in summary.items()}
        call.facts.path = address.masked(head.path) if address.findings else head.path
        call.content = Content(
            content.media_type, content.size, summary, content.parsed, content.model or "", content.stream
        )
        call.subject = Subject(
            call.id, 1, head.method, head.host, head.path, head.query, head.headers, exchange.client, call.principal,
            call.route, call.dialect, call.operation,
        )  # fmt: skip
        self._services.steps.inspection.observe(time.perf_counter() - began)
        return content

    def _candidates(self, call: Call) -> list[Endpoint]:
        free = [e for e in call.route.endpoints if self._isolation.endpoint(e.id) is None]
        if not free:
            raise Refusal(503, "containment", "contained", "Every endpoint of this route is isolated; see the console.")
        return free

    async def _decide(self, call: Call, content: RequestContent, candidates: list[Endpoint]) -> RequestDecision:
        """Step 5: policy's word on the request; anything but a clear yes ends the call."""
        began = time.perf_counter()
        services, documents = self._services, call.setup.documents
        engine = call.engine
        call.facts.policy, call.facts.tenant_policy = engine.revision, engine.tenant_revision
        make = partial(documents.request, call.subject, call.content, candidates, services.health.healthy)
        document = make(reads=engine.request_reads)
        asked = time.perf_counter()
        try:
            decision = await engine.decide(Moment.REQUEST, document)
        except PolicyError as error:
            raise undecided(error) from error
        finally:
            call.facts.decided_us = microseconds(asked)
            if isinstance(engine, Watched):
                engine.tell(Moment.REQUEST, call.content.size, make)
        call.facts.policy = engine.revision
        if services.kept is not None:
            document = self._to_be_kept(call, content, document, candidates, engine.request_reads)
            call.kept = services.kept.keep(call.secrets, document)
        if not decision.allow:
            reasons = [reason.as_dict() for reason in decision.reasons]
            raise Refusal(403, "decision", "refused", "Policy refused the call.", reasons)
        fixed = sorted(kind for kind in call.address.findings if kind in decision.redact)
        if fixed:
            detail = f"The address holds {', '.join(fixed)}, which policy redacts; an address cannot be rewritten."
            raise Refusal(403, "decision", "finding_in_address", f"{detail} Send it in the body instead.")
        call.facts.labels = decision.labels
        call.facts.redacted = {kind: how for kind, how in decision.redact.items() if kind in call.facts.findings}
        services.steps.request_decision.observe(time.perf_counter() - began)
        return decision

    def _to_be_kept(
        self,
        call: Call,
        content: RequestContent,
        document: bytes,
        candidates: list[Endpoint],
        reads: frozenset[str] | None,
    ) -> bytes:
        """The policy input for replay: with every finding masked."""
        if call.facts.findings or (shows_headers(reads) and call.address.finds_in(call.subject.headers)):
            kept = replace(call.content, body=content.masked_parsed())
            healthy = self._services.health.healthy
            mask = call.address.masked
            return call.setup.documents.request(call.subject, kept, candidates, healthy, reads=reads, mask=mask)
        return document

    async def _attempt(
        self,
        call: Call,
        endpoint: Endpoint,
        attempt: int,
        content: RequestContent,
        decision: RequestDecision,
        others: bool,
        may_repeat: bool,
    ) -> None:
        """Steps 6 to 8 for one endpoint; raises Declined where the next one is to be tried."""
        services, head, secrets = self._services, call.exchange.head, call.secrets
        body = await call.tokens.render(content, decision.redact, endpoint.model)
        sent = {"bytes": len(body), "digest": secrets.digest(body)}
        call.subject.attempt = attempt
        call.endpoint = endpoint.id
        relay = Relay(services, call, endpoint, attempt)
        record = intent(call.facts, attempt, endpoint.id, endpoint.model or content.model or "", sent, call.kept.digest)
        try:
            await relay.begin(encode(record), call.kept.blob if attempt == 1 else None)
            self._check_standing(call)
            stream = AnswerStream()
            stream.upstream = services.pool.request(
                endpoint,
                head.method,
                upstream_target(endpoint, call.target),
                to_upstream(call, endpoint),
                body,
                stream,
            )
            try:
                await relay.run(stream, others, may_repeat)
            finally:
                stream.abandon()
        except Declined:
            raise
        except (Exception, asyncio.CancelledError) as error:
            refusal = _why(call, error)
            relay.cut(refusal)
            raise refusal from None

    # Ends ------------------------------------------------------------------------------------------------------------

    async def _refuse(self, call: Call, refusal: Refusal) -> None:
        """Record the refusal, then tell the client; a call that has an intent has its outcome already."""
        # A call that was to be sent somewhere has a record of its end in any case.
        if not call.recorded and (call.endpoint or self._services.known.is_single(call.facts, refusal)):
            call.recorded = True
            kept = call.kept if refusal.code == "refused" else NOTHING
            record = refused(call.facts, refusal.stage, refusal.status, _reasons(refusal), kept.digest)
            try:
                await asyncio.shield(self._services.log.append(encode(record), side=kept.blob))
            except (LineageError, asyncio.CancelledError) as error:
                log.error("a refusal could not be recorded", call=call.id, error=str(error))
            else:
                if kept is not NOTHING and self._services.kept is not None:
                    self._services.kept.sent(kept)
        call.exchange.refuse(refusal)

    def _cut(self, call: Call, why: Refusal) -> None:
        if call.cut is None and call.task is not None:
            call.cut = why
            # A task that is cancelled before its first step never runs, and would record and answer nothing; one that
            # waits for its intent's commit has to learn the intent's index, and looks for a cut by itself then.
            if call.running and not call.committing:
                call.task.cancel()


def _why(call: Call, error: BaseException) -> Refusal:
    """What ended a call, as it is recorded and told. An unforeseen error's text may quote content and stays out."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, asyncio.CancelledError):
        return call.ending()
    place = traceback.extract_tb(error.__traceback__)[-1]
    log.error("a call failed", call=call.id, error=type(error).__name__, place=f"{place.filename}:{place.lineno}")
    return Refusal(500, "internal", "internal", "The gateway failed on this call and refused it.")


def _key_ids(state: ControlState) -> frozenset[str]:
    return frozenset(key.id for key in state.keys.values())


def _reasons(refusal: Refusal) -> list[dict[str, str]]:
    return [dict(reason) for reason in refusal.reasons] or [{"rule": refusal.code, "detail": refusal.detail}]
