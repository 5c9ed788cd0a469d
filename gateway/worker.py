"""A gateway worker: what it needs is opened in order, calls are served until it is told to stop, then it drains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from gateway.budget import Budget
from gateway.bundle_server import BundleServer
from gateway.call import Services, Setup, Steps
from gateway.content.patterns import PatternScanner
from gateway.counted import UnknownCallers
from gateway.errors import GatewayError
from gateway.flow import Gateway
from gateway.kept import KeptInputs
from gateway.listener import Listener
from gateway.policy_server import PolicyServer
from gateway.routing import Health
from gateway.secrets import TenantSecrets
from gateway.settings import Endpoint, Route, Tenant
from gateway.settings import Gateway as GatewaySettings
from gateway.sweep import Sweep
from gateway.tls import Security, load_security
from gateway.tokens import TokenService
from gateway.upstream import UpstreamPool
from lineage.bundles import BundleStore
from lineage.client import LogClient
from lineage.clock import latest
from lineage.control import ControlState
from lineage.keys import load_master_key
from lineage.metrics import Meter
from lineage.paths import Paths
from lineage.record import encode
from lineage.rollouts import Rollout
from lineage.side import TenantKeys
from lineage.side_place import CONNECTIONS, SidePlace
from policies.admission import Admission
from policies.download import DownloadedSource
from policies.engine import PolicyEngine
from policies.errors import Problem
from policies.opa.source import OpaSource
from policies.reloading import Reloader
from policies.rollouts import Rollouts
from policies.settings import Policy
from policies.source import Source

log = structlog.get_logger("gateway")

COUNTED_SECONDS = 10.0
PROBLEMS_TOLD = 20
PROBLEM_CHARACTERS = 500
LIST_FAULTS = {
    "overdue": "the certificates of its authority are refused until a newer one is there",
    "older": "the newer one that is in force stays",
}


@dataclass(frozen=True, slots=True)
class Configuration:
    """The parts of the configuration that a worker reads. `pages`: where callers find a page on each refusal code."""

    gateway: GatewaySettings
    tenants: Sequence[Tenant]
    routes: Sequence[Route]
    policy: Policy
    keep_inputs: bool
    pages: str = ""
    database: str = field(default="", repr=False)


class Worker:
    """One worker process's life. `on_listen` is told the port once calls are taken."""

    def __init__(self, boot: str, data_dir: Path, configuration: Configuration, meter: Meter) -> None:
        self._boot = boot
        self._paths = Paths(data_dir)
        self._configuration = configuration
        self._meter = meter
        self._gateway: Gateway | None = None
        self._listener: Listener | None = None
        self._securing: asyncio.Task[None] | None = None
        self._told_lists: list[tuple[str, Path]] = []
        self._pool: UpstreamPool | None = None
        self._own: list[Endpoint] = []
        self._bundles: BundleServer | None = None
        self._log: LogClient | None = None
        self._rollouts: Rollouts | None = None
        self._setup = self._setup_of(configuration)

    def reconfigure(self, configuration: Configuration) -> None:
        """Serve the next calls by another configuration; raises what is wrong with it and keeps the one in force."""
        setup = self._setup_of(configuration)
        listener = self._listener
        before = listener.security if listener is not None else None
        tls = configuration.gateway.tls
        security = load_security(tls, before) if tls is not None and before is not None else None
        self._setup, self._configuration = setup, configuration
        if listener is not None:
            listener.pages = configuration.pages
        if self._gateway is not None and self._pool is not None:
            self._gateway.setup = setup
            self._pool.retain(
                [*self._own, *(endpoint for route in configuration.routes for endpoint in route.endpoints)]
            )
            if listener is not None and before is not None and security is not None and security.mark != before.mark:
                listener.secure(security)
                self._gateway.check_live()
                self._securing = asyncio.create_task(self._serve_with(listener, security, self._securing))

    async def run(self, log_client: LogClient, stop: asyncio.Event, on_listen: Callable[[int], None]) -> None:
        """Serve until `stop` is set. `log_client` tells `on_control` of this worker through `control_changed`."""
        settings = self._configuration.gateway
        limits = settings.limits
        self._log = log_client
        sweep = Sweep()
        pool = self._pool = UpstreamPool(limits, sweep)
        reloader = self._policy_source(pool)
        place = SidePlace(self._paths.data_dir, self._configuration.database)
        rollouts = self._rollouts = self._rollouts_beside(reloader, place)
        rollouts.follow(log_client.control)
        await reloader.start()
        await rollouts.settled()
        side = place.side()
        tokens = place.tokens(most=settings.tokens.per_principal)
        keys = TenantKeys(side, load_master_key(self._paths.data_dir))
        # Threads of their own: where the database hangs, they all do, and nothing else must wait for them.
        threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="tokens") if place.remote else None
        budget = Budget(limits.buffered)
        services = Services(
            boot=self._boot,
            log=log_client,
            policy=rollouts,
            pool=pool,
            scanner=PatternScanner(),
            secrets=TenantSecrets(keys),
            meter=self._meter,
            steps=Steps(self._meter),
            health=Health(),
            budget=budget,
            unknown=UnknownCallers(self._boot),
            tokens=TokenService(tokens, self._meter, settings.tokens, threads),
            kept=KeptInputs(lambda: log_client.generation) if self._configuration.keep_inputs else None,
        )
        gateway = self._gateway = Gateway(services, self._setup)
        tls = self._configuration.gateway.tls
        listener = self._listener = Listener(
            gateway,
            limits,
            sweep,
            budget,
            security=None if tls is None else load_security(tls),
            pages=self._configuration.pages,
            on_malformed=self._count_malformed,
            on_certificate=lambda what: self._meter.inc("cordon_client_certificates_total", (what,)),
            on_failed_handshake=lambda why: self._meter.inc("cordon_failed_handshakes_total", (why,)),
        )
        host, _, port = settings.listen.rpartition(":")
        # Shared even where there is one worker: while it is renewed, another takes the calls.
        bound = await listener.start(host.strip("[]"), int(port), reuse_port=True)
        works = (reloader.run(), self._now_and_then(gateway, listener), services.tokens.forget())
        helpers = [asyncio.create_task(work) for work in works]
        on_listen(bound)
        try:
            await stop.wait()
            await listener.drain(limits.drain_time)
        finally:
            await listener.close()
            await gateway.settled()
            gateway.record_counted()
            self._record_shadow(rollouts)
            for helper in helpers:
                helper.cancel()
            await pool.close()
            if self._bundles is not None:
                await self._bundles.close()
            sweep.close()
            rollouts.close()
            reloader.close()
            keys.close()
            if threads is not None:
                threads.shutdown(wait=False, cancel_futures=True)
            tokens.close()
            side.close()

    def control_changed(self, state: ControlState) -> None:
        """Containments, keys or roll-outs have changed."""
        if self._gateway is not None:
            self._gateway.on_control(state)
        if self._rollouts is not None:
            self._rollouts.follow(state)

    async def _serve_with(self, listener: Listener, security: Security, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        try:
            await listener.serve_with(security)
        except GatewayError as error:
            log.error("new connections are still served with the certificates before", problem=str(error))
            return
        log.info("the certificates were read again")

    def _look_at_certificates(self, listener: Listener) -> None:
        """Drain what stands on an expired certificate or an overdue list, and tell of a list's fault once."""
        security = listener.security
        if security is None or security.clients is None:
            return
        now = latest()
        listener.lapsed(now)
        faults = security.clients.lists.faults(now)
        if faults != self._told_lists:
            for fault, path in [each for each in faults if each not in self._told_lists]:
                log.error(f"a revocation list is {fault}", file=str(path), meaning=LIST_FAULTS[fault])
            self._told_lists = faults
            named = [{"fault": fault, "file": ascii(path.name)[1:-1][:200]} for fault, path in faults]
            self._append({"kind": "tls.list_faults", "lists": named})
        for fault in LIST_FAULTS:
            self._meter.set("cordon_revocation_list_faults", [f for f, _ in faults].count(fault), (fault,))

    async def _now_and_then(self, gateway: Gateway, listener: Listener) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            self._meter.set("cordon_connections", listener.connections)
            self._meter.set("cordon_buffered_bytes", listener.budget.held)
            self._look_at_certificates(listener)
            gateway.check_live()
            if time.monotonic() - last >= COUNTED_SECONDS:
                last = time.monotonic()
                gateway.record_counted()
                gateway.let_go()
                if self._rollouts is not None:
                    self._record_shadow(self._rollouts)

    def _setup_of(self, configuration: Configuration) -> Setup:
        return Setup.of(configuration.routes, configuration.tenants, configuration.gateway.limits)

    def _count_malformed(self, _client: str, code: str) -> None:
        self._meter.inc("cordon_malformed_requests_total", (code,))

    def _policy_source(self, pool: UpstreamPool) -> Reloader | OpaSource:
        settings, run = self._configuration.policy, self._paths.run
        source = self._bundle_source(settings, pool)
        if settings.engine == "embedded":
            return Reloader(
                settings,
                run,
                on_loaded=self._tell_loaded,
                on_rejected=self._tell_rejected,
                source=source,
                meter=self._meter,
            )
        server = PolicyServer(settings, pool)
        self._own = [server.endpoint]
        return OpaSource(
            settings,
            run,
            server,
            self._meter,
            on_loaded=self._tell_loaded,
            on_rejected=self._tell_rejected,
            on_server=self._tell_server,
            source=source,
        )

    def _bundle_source(self, settings: Policy, pool: UpstreamPool) -> Source | None:
        """What downloads the bundle, where it is on a server and read here."""
        if not isinstance(settings.bundle, str) or not settings.push:
            return None
        self._bundles = BundleServer(settings, pool.limits, pool.sweep)
        return DownloadedSource(settings, self._bundles, self._meter)

    def _rollouts_beside(self, base: Reloader | OpaSource, place: SidePlace) -> Rollouts:
        """The bundles of roll-outs beside the configured one."""
        return Rollouts(
            base,
            self._configuration.policy,
            self._paths.run,
            partial(_archive, place),
            self._meter,
            on_loaded=self._tell_taken_up,
            on_rejected=self._tell_missing,
        )

    def _tell_server(self, reason: str, detail: str) -> None:
        if reason:
            log.error("the OPA server is lost, calls are refused", reason=reason, problem=detail)
            self._append({"kind": "policy.server_lost", "reason": reason, "detail": detail[:PROBLEM_CHARACTERS]})
        else:
            log.info("the OPA server is back")
            self._append({"kind": "policy.server_back"})

    def _tell_loaded(self, engine: PolicyEngine) -> None:
        """What the rules read is recorded, since inputs are kept for replay as far as they read them."""
        log.info("policy loaded", revision=engine.revision)
        facts: dict[str, object] = {"kind": "policy.loaded", "revision": engine.revision}
        facts["bundle"] = str(self._configuration.policy.bundle)
        facts["reads"] = None if engine.request_reads is None else sorted(engine.request_reads)
        facts["answer_reads"] = None if engine.answer_reads is None else sorted(engine.answer_reads)
        given_way = self._rollouts.superseded(engine.revision) if self._rollouts is not None else None
        if given_way is not None:
            log.warning("the configured bundle takes the place of a roll-out", rollout=given_way.id)
            facts["supersedes"] = given_way.id
        self._append(facts)

    def _tell_taken_up(self, rollout: Rollout, verdict: Admission) -> None:
        log.info("policy loaded", revision=rollout.revision, rollout=rollout.id, stage=rollout.stage)
        settings = self._configuration.policy
        facts: dict[str, object] = {"revision": rollout.revision}
        for name, rule in (("reads", settings.request_rule), ("answer_reads", settings.response_rule)):
            reads = verdict.reads.get(rule)
            facts[name] = None if reads is None else sorted(reads)
        self._append({"kind": "policy.loaded", **_of(rollout), **facts})

    def _tell_missing(self, rollout: Rollout, problems: Iterable[Problem]) -> None:
        told = [str(problem)[:PROBLEM_CHARACTERS] for problem in problems][:PROBLEMS_TOLD]
        log.error("the bundle of a roll-out cannot be taken up", rollout=rollout.id, stage=rollout.stage, problems=told)
        self._append({"kind": "policy.rejected", **_of(rollout), "problems": told})

    def _record_shadow(self, rollouts: Rollouts) -> None:
        for facts in rollouts.shadow.drain():
            self._append({"kind": "policy.shadow", **facts})

    def _tell_rejected(self, problems: Sequence[Problem]) -> None:
        told = [str(problem)[:PROBLEM_CHARACTERS] for problem in problems[:PROBLEMS_TOLD]]
        log.error("a changed policy bundle was refused, the one before stays", problems=told)
        bundle = str(self._configuration.policy.bundle)
        self._append({"kind": "policy.rejected", "bundle": bundle, "problems": told})

    def _append(self, facts: dict[str, object]) -> None:
        if self._log is not None:
            record = {"v": 1, "at": time.time_ns() // 1_000_000, "boot": self._boot} | facts
            self._log.append(encode(record)).add_done_callback(lambda done: done.exception())


def _archive(place: SidePlace, digest: str) -> bytes | None:
    """An archive of the bundle store, by a connection of its own: it is asked for in a thread, and seldom."""
    side = place.side()
    try:
        return BundleStore(side).get(digest)
    finally:
        side.close()


def _of(rollout: Rollout) -> dict[str, object]:
    return {"rollout": rollout.id, "scope": rollout.scope, "stage": rollout.stage}
