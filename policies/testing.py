"""Tries a bundle out on one document: what it says, and how long it takes to say it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from policies.admission import Admission, admit_now
from policies.bundle import Bundle
from policies.embedded import EmbeddedEngine
from policies.engine import Moment
from policies.envoy import read_envoy
from policies.errors import BundleError
from policies.result import AnswerDecision, RequestDecision, read_answer, read_request
from policies.settings import Policy


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a bundle says of one document: the rule's own result (JSON text) and the decision read from it."""

    revision: str
    rule: str
    result: str
    decision: RequestDecision | AnswerDecision
    milliseconds: float


def evaluate(bundle: Bundle, document: bytes, moment: Moment, settings: Policy) -> Evaluation:
    """What a bundle says of `document` at `moment`; BundleError if it is refused, else PolicyError."""
    admission = admit_now(bundle, settings)
    return evaluate_admitted(_admitted(admission), document, moment, settings)


def evaluate_admitted(bundle: Bundle, document: bytes, moment: Moment, settings: Policy) -> Evaluation:
    """The same for a bundle that was admitted before."""
    engine = EmbeddedEngine(bundle, settings)
    rule = settings.request_rule if moment is Moment.REQUEST else settings.response_rule
    began = time.perf_counter()
    result = engine.evaluate(rule, document)
    milliseconds = (time.perf_counter() - began) * 1e3
    decision: RequestDecision | AnswerDecision
    if moment is not Moment.REQUEST:
        decision = read_answer(result)
    else:
        decision = read_envoy(result) if settings.result_style == "opa-envoy" else read_request(result)
    return Evaluation(bundle.revision, rule, result, decision, milliseconds)


def _admitted(admission: Admission) -> Bundle:
    if admission.bundle is None:
        raise BundleError(admission.errors)
    return admission.bundle
