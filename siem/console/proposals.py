"""Bundles that operators propose: examined in a process of their own, stored, and recorded as drafts.

It is what `cordon policy propose` does (`policies.proposal`); the author is who is signed in. One at a time for each
operator and few in all, since examining one takes seconds of a processor.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from lineage.actions import ActionError
from lineage.bundles import BundleStore
from lineage.errors import SideError
from lineage.metrics import Meter
from lineage.side_place import SidePlace
from policies.errors import BundleError, PolicyError, Problem
from policies.proposal import Proposal, examine, propose
from policies.settings import Policy
from siem.console.errors import Conflict, Invalid, Throttled, refused
from siem.console.journal import Journal
from siem.console.turns import Turns

MOST_AT_ONCE: Final = 2
MOST_TOLD: Final = 8
LONGEST_TOLD: Final = 400
OUTCOMES: Final = ("proposed", "refused", "error", "busy")


@dataclass(frozen=True, slots=True)
class Draft:
    """A bundle that became a draft: the roll-out's id, what was stored, and how many of its tests passed."""

    id: str
    digest: str
    revision: str
    tests: int
    index: int


class Proposals:
    """`limit` is the most bytes of an archive."""

    def __init__(self, journal: Journal, place: SidePlace, settings: Policy, limit: int, meter: Meter) -> None:
        self._journal = journal
        self._place = place
        self._settings = settings
        self._limit = limit
        self._turns = Turns(MOST_AT_ONCE, "The examination of another bundle")
        self._counting = threading.Lock()
        self._outcomes = {each: meter.counter("cordon_policy_proposals_total", each) for each in OUTCOMES}

    def propose(self, archive: bytes, *, tenant: str, note: str, by: str) -> Draft:
        """Make an archive a draft, for all tenants or as one tenant's own; takes seconds.

        `Invalid` for a bundle that does not pass, `Conflict` where none can be proposed now, `Throttled`.
        """
        outcome = "error"
        try:
            with self._turns.of(by):
                draft = self._stored(self._examined(archive), tenant, note, by)
            outcome = "proposed"
            return draft
        except (Throttled, Invalid) as error:
            outcome = "busy" if isinstance(error, Throttled) else "refused"
            raise
        finally:
            with self._counting:
                self._outcomes[outcome].inc()

    def _examined(self, archive: bytes) -> Proposal:
        if len(archive) > self._limit:
            raise Invalid(f"The archive is over {self._limit} bytes (control.archive_limit).", field="archive")
        try:
            return examine(archive, self._settings)
        except BundleError as error:
            raise Invalid(_told(error.problems), field="archive") from error
        except PolicyError as error:
            raise Conflict(f"It cannot be proposed: {error}.") from error

    def _stored(self, found: Proposal, tenant: str, note: str, by: str) -> Draft:
        journal = self._journal
        try:
            with closing(self._place.side()) as side:
                made = propose(
                    found, BundleStore(side), journal.stamp(), lambda: journal.control, journal.append,
                    by=by, scope=tenant, note=note,
                )  # fmt: skip
        except ActionError as error:
            raise refused(error) from error
        except SideError as error:
            raise Invalid(f"It cannot be kept: {error}.", field="archive") from error
        except PolicyError as error:
            raise Conflict(f"It was not proposed: {error}.") from error
        return Draft(made.rollout, found.digest, found.revision, found.tests, made.index)


def _told(problems: tuple[Problem, ...]) -> str:
    """What speaks against a bundle, the first few of it."""
    lines = [text if len(text := str(each)) <= LONGEST_TOLD else text[:LONGEST_TOLD] + "…" for each in problems]
    more = len(lines) - MOST_TOLD
    return "The bundle is refused. " + "\n".join(lines[:MOST_TOLD]) + (f"\nand {more} more" if more > 0 else "")
