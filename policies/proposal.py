"""What a bundle has to pass before it can be rolled out: its signature, admission, and its own tests."""

from __future__ import annotations

from dataclasses import dataclass

from policies.admission import admit_now
from policies.authoring.running import TestResult, run_tests
from policies.bundle import Bundle, bundle_of_archive
from policies.errors import BundleError, PolicyError, Problem
from policies.settings import Policy


@dataclass(frozen=True, slots=True)
class Proposal:
    """A bundle that passed: the bytes of its archive, what is in them, and how many tests passed."""

    archive: bytes
    bundle: Bundle
    tests: int


def examine(archive: bytes, settings: Policy) -> Proposal:
    """Examine a .tar.gz as a worker will, and run its tests; BundleError with everything that speaks against it.

    Takes seconds. PolicyError where the configured engine takes no roll-outs.
    """
    if settings.engine != "embedded":
        raise PolicyError("bundles are rolled out by the embedded engine; with engine: opa, the OPA server's own way")
    bundle = bundle_of_archive(archive, "proposed", settings.verification)
    verdict = admit_now(bundle, settings)
    if verdict.bundle is None:
        raise BundleError(verdict.errors)
    results = run_tests(bundle).results if bundle.tests else ()
    failed = [_problem(result) for result in results if result.outcome in ("failed", "error")]
    if failed:
        raise BundleError(failed)
    return Proposal(archive, bundle, sum(result.outcome == "passed" for result in results))


def _problem(result: TestResult) -> Problem:
    message = f"{result.name} {'fails' if result.outcome == 'failed' else 'ends with an error'}: {result.detail}"
    return Problem(result.file, result.at or result.line, 0, "test", message[:500], "mend the rule, or the test")
