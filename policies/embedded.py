"""The embedded engine: regorus, one per worker thread, spoken to in JSON text only.

The seam is kept this thin on purpose. Values cross it as JSON, because the wheel's conversion to Python objects has
turned booleans into numbers; every error is caught here and told apart from an answer; and an engine that has erred
is thrown away, so that nothing of one call's evaluation can reach the next call's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Literal, overload

os.environ.setdefault("RUST_LIB_BACKTRACE", "0")  # an error would cost a stack walk, and callers can provoke errors

from regorus import Engine

from lineage.metrics import Meter
from policies.bundle import Bundle
from policies.engine import AnswerMoment, Moment
from policies.envoy import read_envoy
from policies.errors import BundleError, PolicyError, Problem
from policies.numbers import inexact_number
from policies.rego.digits import WRITTEN, written_otherwise
from policies.rego.exact import install
from policies.rego.failure import evaluation_failure, parse_problem
from policies.rego.tree import new_engine
from policies.remembered import remember
from policies.result import AnswerDecision, RequestDecision, read_answer, read_request
from policies.settings import Policy

Reader = Callable[[str], RequestDecision | AnswerDecision]


class EmbeddedEngine:
    """Decides by one bundle inside the calling thread. It belongs to the thread that made it.

    The bundle is one that `policies.admission` let through: this class trusts that it ends, and that the guards that
    make it exact are in place.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: Policy,
        reads: Mapping[str, frozenset[str] | None] | None = None,
        uncached: Mapping[str, Problem] | None = None,
        meter: Meter | None = None,
    ) -> None:
        """`reads` and `uncached` as admission found them; without the latter, no decision is remembered."""
        self.revision = bundle.revision
        self.tenant_revision = ""
        reads = reads or {}
        self.request_reads = reads.get(settings.request_rule)
        self.answer_reads = reads.get(settings.response_rule)
        self.tokenises = bundle.tokenises
        read = read_envoy if settings.result_style == "opa-envoy" else read_request
        self._asked: tuple[tuple[str, Reader], tuple[str, Reader]] = (
            (settings.response_rule, read_answer),
            (settings.request_rule, read),
        )
        self._pass_answers = settings.unsafe_pass_answers
        self._remembered = remember(settings, uncached, meter or Meter(""))
        self._otherwise = written_otherwise(bundle.data_json.encode())
        self._pristine = build(bundle)
        self._engine = self._pristine.clone()

    @overload
    async def decide(self, moment: Literal[Moment.REQUEST], document: bytes) -> RequestDecision: ...

    @overload
    async def decide(self, moment: AnswerMoment, document: bytes) -> AnswerDecision: ...

    async def decide(self, moment: Moment, document: bytes) -> RequestDecision | AnswerDecision:
        """Decide without suspending: an evaluation takes tens of microseconds and must not be overtaken."""
        return self.decide_now(moment, document)

    def decide_now(self, moment: Moment, document: bytes) -> RequestDecision | AnswerDecision:
        """Decide. A rule that admission let be remembered decides by the document alone, so one alike is not asked."""
        remembered = self._remembered[moment]
        decision = remembered.find(document)
        if decision is None:
            if moment is not Moment.REQUEST and self._pass_answers:
                return AnswerDecision(True)
            rule, read = self._asked[moment is Moment.REQUEST]
            result = self.evaluate(rule, document)
            decision = read(result)
            remembered.keep(document, decision, len(result))
        return decision

    def close(self) -> None:
        """Forget what is remembered, for good; calls that are under way are still decided."""
        for remembered in self._remembered.values():
            if remembered.cache is not None:
                remembered.cache.close()

    def evaluate(self, rule: str, document: bytes) -> str:
        """The JSON text of the rule `data.….name` for `document`; PolicyError when the engine cannot say."""
        number = inexact_number(document)
        if number:
            raise PolicyError(number)
        WRITTEN.otherwise = self._otherwise or written_otherwise(document)
        try:
            self._engine.set_input_json(document.decode())
            return self._engine.eval_rule_as_json(rule)
        except Exception as error:
            self._engine = self._pristine.clone()
            raise PolicyError(evaluation_failure(str(error))) from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            self._engine = self._pristine.clone()
            raise PolicyError("the policy engine broke down; this call is refused") from None


def build(bundle: Bundle) -> Engine:
    """Make an engine of a bundle; BundleError with the place of what does not parse or compile."""
    engine = new_engine()
    install(engine)
    problems = []
    for file, text in bundle.modules.items():
        try:
            engine.add_policy(file, text)
        except Exception as error:
            problems.append(parse_problem(file, str(error)))
    if problems:
        raise BundleError(problems)
    try:
        engine.add_data_json(bundle.data_json)
        engine.eval_query_as_json("true")  # prepares all modules, once for all clones
    except Exception as error:
        raise BundleError([parse_problem("", str(error), "compile")]) from None
    return engine
