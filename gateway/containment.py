"""What is isolated now, and which tenants were erased: the control state as the data plane asks it.

It is asked on every call, and again on every change.

A containment ends by itself when its time is over; nobody has to be there to lift it. Its time is a length: a wall
clock that is set neither ends it early nor keeps it (see `lineage.clock`).
"""

from __future__ import annotations

from collections.abc import Collection

from lineage.clock import Terms
from lineage.control import Containment, ControlState


class Isolation:
    """The containments of one control state, by their target, and its erased tenants.

    `terms` has taken up the same state.
    """

    __slots__ = ("_endpoints", "_erased", "_principals", "_terms")

    def __init__(self, state: ControlState, terms: Terms) -> None:
        self._terms = terms
        self._erased = state.erased
        self._principals: dict[str, list[Containment]] = {}
        self._endpoints: dict[str, list[Containment]] = {}
        for containment in state.containments.values():
            targets = self._principals if containment.target_type == "principal" else self._endpoints
            targets.setdefault(containment.target, []).append(containment)

    def is_erased(self, tenant: str) -> bool:
        """Whether this tenant was erased: nothing is done for it any more."""
        return tenant in self._erased

    def principal(self, principal: str) -> Containment | None:
        """The containment of this principal that is in force now."""
        return self._in_force(self._principals.get(principal, ()))

    def endpoint(self, endpoint: str) -> Containment | None:
        """The containment of this endpoint that is in force now."""
        return self._in_force(self._endpoints.get(endpoint, ()))

    def _in_force(self, containments: Collection[Containment]) -> Containment | None:
        if not containments:
            return None
        return next((held for held in containments if self._terms.in_force(held)), None)
