"""The policy bundle: whether it would be admitted as it lies there now."""

from __future__ import annotations

from collections.abc import Iterator

from cordon.bundles import read_bundle
from cordon.config import Config
from cordon.doctor.finding import Finding, fail, ok, warn
from policies.admission import admit_now
from policies.bundle import Bundle
from policies.errors import BundleError
from policies.settings import Policy


def examine_bundle(config: Config) -> Iterator[Finding]:
    """Read and examine it as a worker does before it serves it."""
    if not config.policy.push:
        return
    try:
        bundle = read_bundle(config.policy)
    except BundleError as error:
        for problem in error.problems:
            yield fail("bundle", str(problem), "mend it; the running Cordon keeps the bundle before")
        return
    yield from _origin(config.policy, bundle)
    if config.policy.engine == "opa":
        return
    admission = admit_now(bundle, config.policy)
    for problem in admission.problems:
        if problem.severity == "error":
            yield fail("bundle", str(problem), "mend it; the running Cordon keeps the bundle before")
        else:
            yield warn("bundle", str(problem), "see `cordon policy check`")
    if admission.bundle is not None:
        dearest = max(admission.costs.values(), default=0.0)
        yield ok("bundle", f"revision {admission.bundle.revision} is admitted, {dearest:.2f} ms a decision at most")


def _origin(policy: Policy, bundle: Bundle) -> Iterator[Finding]:
    """Who vouches for it."""
    if policy.verification is not None:
        yield ok(
            "signature", f"revision {bundle.revision} is as it was signed, by the key of {policy.verification.key}"
        )
    elif isinstance(policy.bundle, str):
        text = f"nobody signs the bundle of {policy.bundle}: whoever may write there decides what passes"
        yield warn("signature", text, "sign it (cordon policy sign), and set policy.verification")
