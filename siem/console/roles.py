"""What an operator may do: a closed table from roles to permissions, and nothing beside it.

A permission exists when some route asks for it; a role that is not in the table gives nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class Permission(Enum):
    """One thing that a signed-in operator may do."""

    VIEW = "see calls, alerts, containments and the state of the log"
    TRIAGE = "note what was made of an alert"
    CONTAIN = "isolate a principal or an endpoint"
    RELEASE = "end a containment"
    KEYS = "list, create and revoke API keys"
    TRY = "try policies on the playground, on the masked inputs of recorded calls too"
    PROPOSE = "propose a policy bundle"
    APPROVE = "approve a policy bundle that somebody else proposed"
    ROLLOUT = "move a policy bundle between its stages, or withdraw it"
    ACCOUNTS = "invite, change and disable operators"


ROLES: Final[Mapping[str, frozenset[Permission]]] = MappingProxyType(
    {
        "viewer": frozenset({Permission.VIEW}),
        "analyst": frozenset({Permission.VIEW, Permission.TRIAGE, Permission.CONTAIN, Permission.RELEASE}),
        "approver": frozenset({Permission.VIEW, Permission.RELEASE, Permission.APPROVE, Permission.ROLLOUT}),
        "policy_author": frozenset({Permission.VIEW, Permission.TRY, Permission.PROPOSE, Permission.ROLLOUT}),
        "admin": frozenset(Permission),
    }
)


def permissions(roles: Iterable[str]) -> frozenset[Permission]:
    """Everything that the holder of these roles may do."""
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))
