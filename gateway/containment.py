"""What is isolated now, and which tenants were erased: the control state as the data plane asks it.

It is asked on every call, and again on every change.

A containment ends by itself when its time is over; nobody has to be there to lift it.
"""

from __future__ import annotations

from collections.abc import Iterable

from lineage.control import Containment, ControlState


class Isolation:
    """The containments of one control state, by their target, and its erased tenants."""

    __slots__ = ("_endpoints", "_erased", "_principals")

    def __init__(self, state: ControlState) -> None:
        self._erased = state.erased
        self._principals: dict[str, list[Containment]] = {}
        self._endpoints: dict[str, list[Containment]] = {}
        for containment in state.containments.values():
            targets = self._principals if containment.target_type == "principal" else self._endpoints
            targets.setdefault(containment.target, []).append(containment)

    def is_erased(self, tenant: str) -> bool:
        """Whether this tenant was erased: nothing is done for it any more."""
        return tenant in self._erased

    def principal(self, principal: str, now: int) -> Containment | None:
        """The containment of this principal that is in force at `now` (ms since the epoch)."""
        return _in_force(self._principals.get(principal, ()), now)

    def endpoint(self, endpoint: str, now: int) -> Containment | None:
        """The containment of this endpoint that is in force at `now` (ms since the epoch)."""
        return _in_force(self._endpoints.get(endpoint, ()), now)


def _in_force(containments: Iterable[Containment], now: int) -> Containment | None:
    for containment in containments:
        if containment.until > now:
            return containment
    return None
