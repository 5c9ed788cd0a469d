"""How a bundle becomes a draft, whoever proposes it: it passes examination, is stored, and the record is written.

What is examined is nobody's yet: its signature, admission and its own tests. All of that happens in a disposable
process with limits of time and memory, see `policies.proposal_worker`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lineage import actions
from lineage.actions import Record, Stamp
from lineage.bundles import BundleStore
from lineage.control import ControlState
from lineage.rollouts import took_effect
from policies.errors import BundleError, PolicyError, Problem
from policies.processes import ask
from policies.settings import Policy
from policies.tarball import unpack

TEST_SECONDS: Final = 60.0
"""Longest time for the tests and what is around them; admission has its own on top (`policy.admission_seconds`)."""
_SETTINGS: Final = (
    "verification", "request_rule", "response_rule", "result_style", "unsafe_pass_answers", "admission_seconds",
    "decision_ms",
)  # fmt: skip


class Overtaken(PolicyError):
    """Somebody else was quicker: the record is in the log and has no effect."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A bundle that passed: the bytes of its archive, their SHA-256, its revision, and how many tests passed."""

    archive: bytes
    digest: str
    revision: str
    tests: int


@dataclass(frozen=True, slots=True)
class Proposed:
    """A bundle that became a draft: the roll-out's id and the log index of the record."""

    rollout: str
    index: int


def examine(archive: bytes, settings: Policy) -> Proposal:
    """Examine a .tar.gz as a worker will, and run its tests; BundleError with everything that speaks against it.

    Takes seconds. PolicyError where the configured engine takes no roll-outs, or where it takes too long.
    """
    if settings.engine != "embedded":
        raise PolicyError("bundles are rolled out by the embedded engine; with engine: opa, the OPA server's own way")
    unpack(archive)  # no process for what is no archive at all
    request = {
        "archive": base64.b64encode(archive).decode(),
        "settings": settings.model_dump(mode="json", include=set(_SETTINGS)),
    }
    seconds = TEST_SECONDS + settings.admission_seconds
    answer = ask("policies.proposal_worker", request, seconds, "examining it")
    if answer["problems"]:
        raise BundleError(Problem(**each) for each in answer["problems"])
    return Proposal(archive, hashlib.sha256(archive).hexdigest(), answer["revision"], answer["tests"])


def propose(
    found: Proposal,
    store: BundleStore,
    stamp: Stamp,
    control: Callable[[], ControlState],
    append: Callable[[Record], int],
    *,
    by: str,
    scope: str = "",
    note: str = "",
) -> Proposed:
    """Store a bundle that passed and make it a draft; `control` and `append` are those of the log.

    ActionError where the record cannot be, before anything is stored; SideError or LogUnavailable where a store fails;
    Overtaken.
    """
    facts = {"digest": found.digest, "revision": found.revision, "by": by, "scope": scope, "note": note}
    record = actions.propose_bundle(stamp, control(), **facts)
    store.put(found.archive)
    index = append(record)
    if not took_effect(control().rollouts, record):
        raise Overtaken("there were too many at the same moment; propose it again")
    store.tidy({each.digest for each in control().rollouts.values()} | {found.digest})
    return Proposed(str(record["rollout"]), index)
