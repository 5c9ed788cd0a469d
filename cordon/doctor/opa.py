"""The OPA server: whether it answers, takes Cordon's token, and holds what it is to decide by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from cordon.bundles import read_bundle
from cordon.config import Config
from cordon.doctor.finding import Finding, fail, ok, warn
from gateway.credentials import CredentialError
from gateway.policy_server import PolicyServer
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from policies.errors import BundleError
from policies.opa.server import Server
from policies.opa.wire import MAX_ANSWER, ServerError, Transport, read_about, read_plain, rule_target
from policies.opa.wrapper import PACKAGE, mark_of

SECONDS = 3.0
_REMEDY = "see that it runs, and policy.url, policy.ca and policy.credential; until then calls are refused"


def examine_opa(config: Config) -> Iterator[Finding]:
    """Ask the server as a worker does; nothing in it is changed."""
    if config.policy.engine == "opa":
        yield asyncio.run(_examine(config))


async def _examine(config: Config) -> Finding:
    sweep = Sweep()
    pool = UpstreamPool(config.gateway.limits, sweep)
    try:
        server = PolicyServer(config.policy, pool)
        async with asyncio.timeout(SECONDS):
            return await (_pushed(config, server) if config.policy.push else _pulled(server))
    except TimeoutError:
        return fail("opa", f"{config.policy.url} did not answer within {SECONDS:g} s", _REMEDY)
    except (CredentialError, ServerError) as error:
        return fail("opa", f"{config.policy.url}: {error}", _REMEDY)
    finally:
        await pool.close()
        sweep.close()


async def _pushed(config: Config, server: Transport) -> Finding:
    began = time.perf_counter()
    found = read_about(await server.send("POST", rule_target(f"data.{PACKAGE}.about"), b"{}", MAX_ANSWER))
    took = (time.perf_counter() - began) * 1e3
    await Server(server).held()  # a token that may ask, but not look at policies, cannot push either
    try:
        wanted = mark_of(await asyncio.to_thread(read_bundle, config.policy), config.policy)
    except BundleError:
        wanted = ""
    if not found.mark:
        return ok("opa", f"answers in {took:.1f} ms; it holds no bundle yet, and gets it when Cordon runs")
    if found.mark != wanted:
        text = f"holds revision {found.revision[:16]}, which is not the configured bundle as it is now"
        return warn(
            "opa", text, "if Cordon runs, see `cordon policy check` and the alerts; if another does, part the two"
        )
    return ok("opa", f"answers in {took:.1f} ms, with the bundle's revision {found.revision[:16]}")


async def _pulled(server: Transport) -> Finding:
    began = time.perf_counter()
    target = rule_target(f"data.{PACKAGE}.none", "provenance=true")
    found = read_plain(await server.send("POST", target, b"{}", MAX_ANSWER))
    return ok("opa", f"answers in {(time.perf_counter() - began) * 1e3:.1f} ms, with revision {found.revision}")
