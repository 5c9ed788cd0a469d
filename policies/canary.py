"""Which calls a roll-out decides: in canary those of listed tenants or a share of all, live all until it gives way.

A call's place among 1,000 follows from its id and the roll-out's alone, so whoever has the log can work it out again:

    place = the first 8 bytes of SHA-256(ROLLOUT + " " + CALL), a big-endian number, modulo 1,000
    the canary decides where place < share

Ids of calls are made by the gateway and end in 80 random bits: the places are uniform, and a caller cannot choose
one. The roll-out's id is in it so that not the same calls are the first in every roll-out.
"""

from __future__ import annotations

import hashlib
from typing import Final

from lineage.rollouts import Rollout
from policies.settings import Policy

WHOLE: Final = 1_000


def place_of(rollout: str, call: str) -> int:
    """A call's place in a roll-out, from 0 to 999."""
    digest = hashlib.sha256(f"{rollout} {call}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % WHOLE


def decides(rollout: Rollout, tenant: str, call: str) -> bool:
    """Whether a roll-out that is in canary decides this call."""
    if rollout.tenants:
        return tenant in rollout.tenants
    return place_of(rollout.id, call) < rollout.share


def gives_way(rollout: Rollout, revision: str, settings: Policy) -> bool:
    """Whether a live roll-out of the common bundle gives way to the configured one of this revision, changed since."""
    common = rollout.scope == "" and rollout.stage == "live"
    return common and rollout.base != revision and settings.changes == "apply"
