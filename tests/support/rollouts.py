"""Roll-outs, and a bundle store for tests of what follows them."""

from __future__ import annotations

import hashlib
from typing import Any

from lineage.control import ControlState
from lineage.rollouts import Rollout
from policies.tarball import pack
from tests.support.policies import MINIMAL, bundle


def request(result: str) -> str:
    """A request module whose decision is `result`."""
    return f"package cordon.request\n\ndecision := {result}\n"


def rollout(name: str = "rollout_1", **parts: Any) -> Rollout:
    """A roll-out; what is not said is as for an approved one of the common bundle that is live."""
    whole: dict[str, Any] = {
        "digest": "0" * 64, "revision": "0" * 16, "scope": "", "stage": "live", "share": 0, "tenants": (),
        "author": "ann", "approved_by": "bob", "base": "", "previous": "", "since": 0,
    }  # fmt: skip
    return Rollout(id=name, **(whole | parts))


def state(*rollouts: Rollout) -> ControlState:
    """A control state that has these."""
    return ControlState(rollouts={each.id: each for each in rollouts})


class Archives(dict[str, bytes]):
    """Archives by their digest."""

    def add(self, name: str = "rollout_1", request: str = "", response: str = "", **parts: Any) -> Rollout:
        """Keep the bundle of these modules (the minimal ones, where they are not given); its roll-out."""
        modules = {name: text for name, text in (("request", request), ("response", response)) if text}
        files = MINIMAL | {f"{module}.rego": text for module, text in modules.items()}
        archive = pack({path: text.encode() for path, text in files.items()})
        digest = hashlib.sha256(archive).hexdigest()
        self[digest] = archive
        return rollout(name, digest=digest, revision=bundle(**modules).revision, **parts)
