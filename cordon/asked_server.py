"""One decision by the configured OPA server, asked as a worker asks it."""

from __future__ import annotations

import time
from contextlib import closing

from gateway.policy_server import Asker
from policies.engine import Moment
from policies.envoy import read_envoy
from policies.opa.engine import asks
from policies.opa.wire import ServerError, question
from policies.result import AnswerDecision, RequestDecision, read_answer, read_request
from policies.settings import Policy
from policies.testing import Evaluation


def evaluate_by_server(settings: Policy, document: bytes, moment: Moment) -> Evaluation:
    """What the server says of `document` by the bundle that it holds, whichever that is.

    ServerError where it gives no answer, holds no bundle, or the policy fails on this input.
    """
    request = moment is Moment.REQUEST
    began = time.perf_counter()
    target, read = asks(settings)[request]
    with closing(Asker(settings)) as asker:
        found = asker.ask(target, question(document), read)
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
