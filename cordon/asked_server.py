"""One decision by the configured OPA server, asked as a worker asks it."""

from __future__ import annotations

import asyncio
import time

from gateway.credentials import CredentialError
from gateway.policy_server import PolicyServer
from gateway.settings import Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from policies.engine import Moment
from policies.envoy import read_envoy
from policies.opa.engine import asks
from policies.opa.wire import MAX_ANSWER, Decided, ServerError, question
from policies.result import AnswerDecision, RequestDecision, read_answer, read_request
from policies.settings import Policy
from policies.testing import Evaluation

SECONDS = 5.0
"""Longest time that the answer may take; a worker has `policy.deadline_ms`."""


def evaluate_by_server(settings: Policy, document: bytes, moment: Moment) -> Evaluation:
    """What the server says of `document` by the bundle that it holds, whichever that is.

    ServerError where it gives no answer, holds no bundle, or the policy fails on this input.
    """
    request = moment is Moment.REQUEST
    began = time.perf_counter()
    found = asyncio.run(_asked(settings, document, request))
    milliseconds = (time.perf_counter() - began) * 1e3
    if settings.push and not found.mark:
        raise ServerError("empty", "the OPA server holds no bundle of Cordon's; it gets it when Cordon runs")
    decision: RequestDecision | AnswerDecision
    if not request:
        decision = read_answer(found.result)
    else:
        decision = read_envoy(found.result) if settings.result_style == "opa-envoy" else read_request(found.result)
    rule = settings.request_rule if request else settings.response_rule
    return Evaluation(found.revision, rule, found.result, decision, milliseconds)


async def _asked(settings: Policy, document: bytes, request: bool) -> Decided:
    sweep = Sweep()
    pool = UpstreamPool(Limits(), sweep)
    target, read = asks(settings)[request]
    try:
        server = PolicyServer(settings, pool)
        async with asyncio.timeout(SECONDS):
            headers = ((b"content-type", b"application/json"),)
            return read(await server.send("POST", target, question(document), MAX_ANSWER, headers))
    except TimeoutError:
        raise ServerError("timeout", f"the OPA server did not answer within {SECONDS:g} s") from None
    except CredentialError as error:
        raise ServerError("unauthorized", str(error)) from None
    finally:
        await pool.close()
        sweep.close()
