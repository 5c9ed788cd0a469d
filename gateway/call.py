"""A call, and what a worker has to serve calls with: the state that the steps in gateway/flow.py work on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from gateway.address import Address, Addresses
from gateway.budget import Budget
from gateway.content.request import Dialect
from gateway.content.scanner import Scanner
from gateway.counted import KnownCallers, UnknownCallers
from gateway.credentials import Credentials
from gateway.document import Content, Documents, Subject
from gateway.errors import Refusal
from gateway.exchange import Exchange
from gateway.identity import Principal
from gateway.kept import NOTHING, Kept, KeptInputs
from gateway.records import Facts
from gateway.routing import Health, Routes
from gateway.secrets import Secrets, TenantSecrets
from gateway.settings import Limits, Route, Tenant
from gateway.tokens import CallTokens, TokenService
from gateway.upstream import UpstreamPool
from lineage.client import LogClient
from lineage.errors import LineageError
from lineage.metrics import Meter
from lineage.record import encode, new_call_id
from policies.engine import PolicyEngine

log = structlog.get_logger("gateway")

LARGE = 65_536
"""A body of more bytes is scanned beside the event loop: one made to take long must not hold up everybody's calls."""


class PolicySource(Protocol):
    """What says which bundles decide a call (`policies.rollouts`); they may be others at the next one."""

    async def choose(self, tenant: str, call: str) -> PolicyEngine:
        """The engine for all moments of one call; PolicyError where the bundle that should decide is not there."""
        ...


@dataclass(frozen=True, slots=True)
class Setup:
    """What one configuration says; replaced as a whole when the configuration is read again, calls keep theirs."""

    routes: Routes
    tenants: Mapping[str, Tenant]
    documents: Documents
    credentials: Credentials
    limits: Limits

    @classmethod
    def of(cls, routes: Sequence[Route], tenants: Sequence[Tenant], limits: Limits) -> Setup:
        """Everything that follows from the configured routes and tenants; raises CredentialError."""
        by_id = {tenant.id: tenant for tenant in tenants}
        return cls(Routes(routes), by_id, Documents(by_id, routes), Credentials(routes), limits)


class Steps:
    """How long calls spend in each step, seconds."""

    def __init__(self, meter: Meter) -> None:
        self.admission = meter.histogram("cordon_step_seconds", "admission")
        self.inspection = meter.histogram("cordon_step_seconds", "inspection")
        self.request_decision = meter.histogram("cordon_step_seconds", "request_decision")
        self.intent = meter.histogram("cordon_step_seconds", "intent")
        self.first_byte = meter.histogram("cordon_step_seconds", "first_byte")
        self.answer_decision = meter.histogram("cordon_step_seconds", "answer_decision")
        self.answer_inspection = meter.histogram("cordon_step_seconds", "answer_inspection")
        self.outcome = meter.histogram("cordon_step_seconds", "outcome")
        self.whole = meter.histogram("cordon_step_seconds", "whole")


@dataclass(slots=True)
class Services:
    """What a worker has for its whole life."""

    boot: str
    log: LogClient
    policy: PolicySource
    pool: UpstreamPool
    scanner: Scanner
    secrets: TenantSecrets
    meter: Meter
    steps: Steps
    health: Health
    budget: Budget
    unknown: UnknownCallers
    tokens: TokenService
    kept: KeptInputs | None
    known: KnownCallers = field(default_factory=KnownCallers)
    addresses: Addresses = field(init=False)

    def __post_init__(self) -> None:
        self.addresses = Addresses(self.scanner)

    def append_later(self, record: Mapping[str, object], give_back: Callable[[], None] | None = None) -> None:
        """Append without waiting; a record that the log did not take is told in the process's own log.

        Then `give_back` is called, where what the record says is kept for another one.
        """
        try:
            future = self.log.append(encode(record))
        except LineageError as error:
            _tell_lost(record, error, give_back)
            return
        future.add_done_callback(lambda done: _tell_lost(record, _fault_of(done), give_back))


class Call:
    """One call on its way: what was found out about it so far."""

    __slots__ = (
        "address", "began", "body_limit", "committing", "content", "cut", "dialect", "endpoint", "engine", "exchange",
        "facts", "id", "kept", "operation", "principal", "recorded", "route", "running", "secrets", "setup", "subject",
        "target", "task", "tokens", "traceparent", "verdict",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, setup: Setup, boot: str) -> None:
        self.exchange = exchange
        self.setup = setup
        self.id = exchange.call = new_call_id()
        self.began = time.perf_counter()
        self.facts = Facts(boot, self.id, method=exchange.head.method)
        self.dialect: Dialect = ""
        self.operation = ""
        self.body_limit = 0
        self.target = b""
        self.endpoint = ""
        self.verdict = "refused"
        self.recorded = False
        self.traceparent = b""
        self.kept: Kept = NOTHING
        self.running = False
        self.committing = False
        self.cut: Refusal | None = None
        self.task: asyncio.Task[None] | None = None
        self.route: Route
        self.principal: Principal
        self.secrets: Secrets
        self.subject: Subject
        self.address: Address
        self.tokens: CallTokens
        self.content: Content
        self.engine: PolicyEngine

    def ending(self) -> Refusal:
        """Why the call ends from outside: what cut it, or else that the gateway stops."""
        return self.cut or Refusal(503, "internal", "stopping", "The gateway is stopping; try again.")


def _fault_of(done: asyncio.Future[int]) -> BaseException | None:
    return asyncio.CancelledError("the log's client was closed") if done.cancelled() else done.exception()


def _tell_lost(record: Mapping[str, object], error: BaseException | None, give_back: Callable[[], None] | None) -> None:
    if error is None:
        return
    if give_back is None:
        log.error("a record could not be kept", kind=record["kind"], call=record.get("call", ""), error=str(error))
    else:
        log.warning("counted refusals could not be recorded yet", count=record.get("count"), error=str(error))
        give_back()
