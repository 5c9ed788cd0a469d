"""The disposable process that tries out a bundle: `python -m policies.trial_worker`, see `policies.trial`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any, Final

from policies.processes import limit

MEMORY: Final = 2 << 30
CPU_SECONDS: Final = 15
LONGEST_ANSWER: Final = 4 << 20


def main() -> None:
    """Answer the one request on standard input."""
    limit(MEMORY, CPU_SECONDS)
    answer = json.dumps(tried(json.load(sys.stdin)))
    if len(answer) > LONGEST_ANSWER:
        answer = json.dumps(
            {"admitted": True, "revision": "", "problems": [], "error": "what it says is too long to show"}
        )
    print(answer, flush=True)


def tried(request: dict[str, Any]) -> dict[str, Any]:
    """What `policies.trial.try_out` gives."""
    from policies.admission import admit_now
    from policies.authoring.examining import examine
    from policies.bundle import make_bundle
    from policies.errors import BundleError
    from policies.settings import Policy

    answer: dict[str, Any] = {"admitted": False, "revision": "", "problems": []}
    settings = Policy(**request["settings"])
    try:
        bundle = make_bundle({file: text.encode() for file, text in request["files"].items()})
        admission = admit_now(bundle, settings)
        answer["revision"] = bundle.revision
        answer["admitted"] = admission.bundle is not None
        answer["problems"] = [asdict(problem) for problem in examine(bundle, admission, settings)]
        if admission.bundle is not None and request["document"] is not None:
            answer |= _decided(bundle, admission.bundle, request, settings)
        if request["tests"] and admission.bundle is not None:
            answer |= _tested(bundle)
    except BundleError as error:
        answer["problems"] = [asdict(problem) for problem in error.problems]
    return answer


def _decided(bundle: Any, admitted: Any, request: dict[str, Any], settings: Any) -> dict[str, Any]:
    from policies.engine import Moment
    from policies.errors import PolicyError
    from policies.explain import explain, told
    from policies.testing import evaluate_admitted

    document = request["document"]
    try:
        evaluated = evaluate_admitted(admitted, json.dumps(document).encode(), Moment(request["moment"]), settings)
        explained = explain(bundle, evaluated.rule, document, allowed=evaluated.decision.allow)
    except PolicyError as error:
        return {"error": str(error)}
    facts = told(evaluated, explained) | {"result": evaluated.result, "milliseconds": evaluated.milliseconds}
    return {"decision": facts}


def _tested(bundle: Any) -> dict[str, Any]:
    from policies.authoring.running import run_tests
    from policies.errors import PolicyError

    try:
        run = run_tests(bundle, seconds=2.0, coverage=True, apart=False)
    except PolicyError as error:
        return {"error": str(error)}
    assert run.coverage is not None
    missed = {each.file: list(each.missed) for each in run.coverage.files}
    return {"tests": [asdict(each) for each in run.results], "coverage": missed, "covered": run.coverage.line_percent}


if __name__ == "__main__":
    main()
