"""The disposable process that examines a proposed bundle: `python -m policies.proposal_worker`, see `proposal`."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import asdict
from typing import Any, Final

from policies.processes import limit

MEMORY: Final = 2 << 30
CPU_SECONDS: Final = 60
MOST_PROBLEMS: Final = 100


def main() -> None:
    """Answer the one request on standard input."""
    limit(MEMORY, CPU_SECONDS)
    print(json.dumps(examined(json.load(sys.stdin))), flush=True)


def examined(request: dict[str, Any]) -> dict[str, Any]:
    """`revision`, the number of `tests` that passed, and the `problems`, which are all that is there if there are any.

    `request` has the `archive` in base 64 and the `settings` of policy that matter.
    """
    from policies.admission import admit_now
    from policies.authoring.running import run_tests
    from policies.bundle import bundle_of_archive
    from policies.errors import BundleError, PolicyError, Problem
    from policies.settings import Policy

    settings = Policy(**request["settings"])
    try:
        bundle = bundle_of_archive(base64.b64decode(request["archive"]), "proposed", settings.verification)
        verdict = admit_now(bundle, settings)
        if verdict.bundle is None:
            raise BundleError(verdict.errors)
        results = run_tests(bundle, apart=False).results if bundle.tests else ()
        failed = [_problem(result) for result in results if result.outcome in ("failed", "error")]
        if failed:
            raise BundleError(failed)
    except BundleError as error:
        return {"problems": [asdict(problem) for problem in error.problems[:MOST_PROBLEMS]]}
    except PolicyError as error:
        return {"problems": [asdict(Problem(".", 0, 0, "test", str(error)))]}
    passed = sum(result.outcome == "passed" for result in results)
    return {"problems": [], "revision": bundle.revision, "tests": passed}


def _problem(result: Any) -> Any:
    from policies.errors import Problem

    message = f"{result.name} {'fails' if result.outcome == 'failed' else 'ends with an error'}: {result.detail}"
    return Problem(result.file, result.at or result.line, 0, "test", message[:500], "mend the rule, or the test")


if __name__ == "__main__":
    main()
