"""The embedded engine: regorus, one per worker thread, spoken to in JSON text only.

The seam is kept this thin on purpose. Values cross it as JSON, because the wheel's conversion to Python objects has
turned booleans into numbers; every error is caught here and told apart from an answer; and an engine that has erred
is thrown away, so that nothing of one call's evaluation can reach the next call's.
"""

from __future__ import annotations

import os
import re
from typing import Final, Literal, overload

os.environ.setdefault("RUST_LIB_BACKTRACE", "0")  # an error would cost a stack walk, and callers can provoke errors

from regorus import Engine

from policies.bundle import Bundle
from policies.engine import AnswerMoment, Moment
from policies.envoy import read_envoy
from policies.errors import BundleError, PolicyError, Problem
from policies.numbers import inexact_number
from policies.result import AnswerDecision, RequestDecision, read_answer, read_request
from policies.settings import Policy

_PLACE: Final = re.compile(r"^--> (?P<file>.+):(?P<line>\d+):(?P<column>\d+)$", re.MULTILINE)
_ERROR: Final = re.compile(r"^error: (?P<text>.+)$", re.MULTILINE)


class EmbeddedEngine:
    """Decides by one bundle inside the calling thread. It belongs to the thread that made it.

    The bundle must have been admitted (`policies.admission`): this class trusts that it terminates.
    """

    def __init__(self, bundle: Bundle, settings: Policy) -> None:
        self.revision = bundle.revision
        self._request_rule = settings.request_rule
        self._response_rule = settings.response_rule
        self._read_request = read_envoy if settings.result_style == "opa-envoy" else read_request
        self._pass_answers = settings.unsafe_pass_answers
        self._pristine = build(bundle)
        self._engine = self._pristine.clone()

    @overload
    async def decide(self, moment: Literal[Moment.REQUEST], document: bytes) -> RequestDecision: ...

    @overload
    async def decide(self, moment: AnswerMoment, document: bytes) -> AnswerDecision: ...

    async def decide(self, moment: Moment, document: bytes) -> RequestDecision | AnswerDecision:
        """Decide without suspending: an evaluation takes tens of microseconds and must not be overtaken."""
        if moment is Moment.REQUEST:
            return self._read_request(self.evaluate(self._request_rule, document))
        if self._pass_answers:
            return AnswerDecision(True)
        return read_answer(self.evaluate(self._response_rule, document))

    def evaluate(self, rule: str, document: bytes) -> str:
        """The JSON text of the rule `data.….name` for `document`; PolicyError when the engine cannot say."""
        number = inexact_number(document)
        if number:
            raise PolicyError(number)
        try:
            self._engine.set_input_json(document.decode())
            return self._engine.eval_rule_as_json(rule)
        except Exception as error:
            self._engine = self._pristine.clone()
            raise PolicyError(_evaluation_failure(str(error))) from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            self._engine = self._pristine.clone()
            raise PolicyError("the policy engine broke down; this call is refused") from None


def build(bundle: Bundle) -> Engine:
    """Make an engine of a bundle; BundleError with the place where a module does not parse."""
    engine = Engine()
    problems = []
    for file, text in bundle.modules.items():
        try:
            engine.add_policy(file, text)
        except Exception as error:
            problems.append(parse_problem(file, str(error)))
    if problems:
        raise BundleError(problems)
    engine.add_data_json(bundle.data_json)
    return engine


def parse_problem(file: str, message: str) -> Problem:
    """Read place and reason out of the engine's message about a module that it could not parse."""
    place = _PLACE.search(message)
    reason = _ERROR.search(message)
    line, column = (int(place["line"]), int(place["column"])) if place else (0, 0)
    return Problem(
        file, line, column, "parse", reason["text"] if reason else "the file cannot be parsed", "correct the syntax"
    )


def _evaluation_failure(message: str) -> str:
    """The place of a failed evaluation. The engine's own words are dropped: they may quote the input."""
    place = _PLACE.search(message)
    if place is None:
        return "the policy could not be evaluated on this input"
    return f"the policy failed at {place['file']}:{place['line']}:{place['column']}; an error in a builtin denies"
