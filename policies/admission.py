"""Admission: a bundle is examined in a disposable process before anything serves it.

    1. sizes and links                     bundle.py, when the folder is read
    2. brackets, then the engine's parser  in the disposable process (admission_worker.py)
    3. what OPA would evaluate otherwise   rego/inspection.py, rego/recursion.py
    4. arithmetic and counting             rego/exactly.py puts guards around them
    5. a trial run, measured               in the disposable process

A crash, a hang or too much memory there is a refusal here, which names the step and the file.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from policies.bundle import Bundle
from policies.errors import Problem
from policies.processes import ENVIRONMENT, command
from policies.rego.builtins import OPA_SERVER
from policies.samples import samples
from policies.settings import Policy

_START: Final = 2.0
"""Seconds on top of `admission_seconds` for the process to start and to end."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The verdict. `bundle` is what may be served (with its guards in place), None when there are errors.

    `costs` is the dearest trial run of each rule in milliseconds; `reads` what of `input` each rule can read
    (`rego/inputs.py`), None for all of it; `uncached` why the decisions of a rule are not remembered, by rule.
    """

    bundle: Bundle | None
    problems: tuple[Problem, ...]
    costs: Mapping[str, float]
    reads: Mapping[str, frozenset[str] | None]
    uncached: Mapping[str, Problem]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that refuse the bundle; the rest are notes."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def admit_now(bundle: Bundle, settings: Policy) -> Admission:
    """Examine a bundle; it takes up to seconds. Never raises for what is wrong with the bundle."""
    request = {
        "modules": dict(bundle.modules),
        "data": bundle.data,
        "rules": asked_rules(settings),
        "samples": samples(),
        "decision_ms": settings.decision_ms,
        "seconds": settings.admission_seconds,
    }
    try:
        result = subprocess.run(
            command("policies.admission_worker"),
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=settings.admission_seconds + _START,
            check=False,
            env=ENVIRONMENT,
        )
    except subprocess.TimeoutExpired as late:
        message = f"examining it took longer than policy.admission_seconds ({settings.admission_seconds:g} s)"
        return _refused(_stopped(late.stdout or b"", message))
    last = _lines(result.stdout)[-1:]
    if result.returncode != 0 or not last or "done" not in last[0]:
        return _refused(_stopped(result.stdout, "the policy engine broke down on it"))
    return _verdict(bundle, last[0]["done"])


def asked_rules(settings: Policy) -> list[str]:
    """The rules that will be asked for decisions."""
    return [settings.request_rule, *([] if settings.unsafe_pass_answers else [settings.response_rule])]


def _verdict(bundle: Bundle, done: dict[str, Any]) -> Admission:
    problems = tuple(Problem(**problem) for problem in done["problems"])
    if any(problem.severity == "error" for problem in problems):
        return _refused(*problems)
    reads = {rule: None if keys is None else frozenset(keys) for rule, keys in done["reads"].items()}
    uncached = {rule: Problem(**problem) for rule, problem in done["uncached"].items()}
    return Admission(replace(bundle, modules=done["modules"]), problems, done["costs"], reads, uncached)


def _refused(*problems: Problem) -> Admission:
    return Admission(None, problems, {}, {}, {})


def _stopped(output: bytes, message: str) -> Problem:
    """The problem of a process that did not come to its end, placed at the step it was in."""
    at = next((line for line in reversed(_lines(output)) if "at" in line), {"at": "start", "file": ""})
    file = str(at.get("file") or ".")
    return Problem(file, 0, 0, "broken", f"{message} (step: {at['at']})", "simplify it, or " + OPA_SERVER)


def _lines(output: bytes) -> list[dict[str, Any]]:
    found = []
    for line in output.splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [line for line in found if isinstance(line, dict)]
