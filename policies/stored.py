"""The bundle of a roll-out, as it lies in the bundle store."""

from __future__ import annotations

from collections.abc import Callable

from lineage.rollouts import Rollout
from policies.bundle import Bundle, bundle_of_archive
from policies.errors import BundleError, Problem
from policies.settings import Verification

Fetch = Callable[[str], bytes | None]
"""Gets an archive by its digest from the bundle store, verified; None where there is none. It may take its time."""


def stored_bundle(fetch: Fetch, rollout: Rollout, verification: Verification | None = None) -> Bundle:
    """The bundle that was proposed; BundleError where it is not there, is another one or cannot be read."""
    archive = fetch(rollout.digest)
    if archive is None:
        raise _refused("missing", f"the bundle of {rollout.id} is not in the bundle store")
    bundle = bundle_of_archive(archive, rollout.id, verification)
    if bundle.revision != rollout.revision:
        raise _refused("revision", f"the bundle of {rollout.id} is of another revision than was proposed")
    return bundle


def _refused(code: str, message: str) -> BundleError:
    return BundleError([Problem(".", 0, 0, code, message, "propose it again")])
