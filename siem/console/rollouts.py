"""Roll-outs of policy bundles as operators see and move them: what is proposed, what it changes, who lets it decide.

Each move becomes one record, and is done once that record is durable; API and pages share these functions. The rules
(an approval by somebody else, one in each stage) hold in the fold of the log itself, see `lineage.rollouts`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from lineage import actions
from lineage.actions import ActionError, Record, Stamp, UnknownTarget
from lineage.bundles import BundleStore
from lineage.control import ControlState
from lineage.errors import SideError
from lineage.reader import LogReader
from lineage.rollouts import Rollout, compared_with, live, ordered, took_effect
from lineage.side_place import SidePlace
from policies.bundle import Bundle
from policies.canary import gives_way
from policies.differences import Difference, differences
from policies.errors import BundleError, Problem
from policies.settings import Policy
from policies.shadow_counts import Counts, ShadowCounts
from policies.stored import stored_bundle
from siem.console.errors import Conflict, NotFound, refused
from siem.console.journal import Journal

CONFIGURED: Final = "configured"
"""What a bundle is compared with where no roll-out is live."""
REMEMBER_SECONDS: Final = 2.0
MOST_COMPARED: Final = 8
COMPARE_SECONDS: Final = 1.0
"""Longest time in seconds that one comparison waits for another."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What a roll-out's bundle changes, and against what: a roll-out's id, `configured`, or empty for a tenant's first.

    `problem` says why that cannot be shown.
    """

    against: str
    files: tuple[Difference, ...] = ()
    problem: str = ""

    @property
    def added(self) -> int:
        """Lines that the bundle has more, of all files."""
        return self._lines("+")

    @property
    def removed(self) -> int:
        """Lines that it has no more."""
        return self._lines("-")

    def _lines(self, mark: str) -> int:
        return sum(line.startswith(mark) for file in self.files for line in file.lines)


@dataclass(frozen=True, slots=True)
class InForce:
    """What decides calls of the common bundle beside a canary: the live roll-out, or None for the configured bundle.

    `configured` is the revision of that, empty where it cannot be read now, and `problem` says why. `given_way` is a
    live roll-out whose place a changed configured bundle has taken.
    """

    rollout: Rollout | None
    configured: str
    given_way: Rollout | None = None
    problem: str = ""

    @property
    def revision(self) -> str:
        """The revision of what decides, empty where it is not known."""
        return self.rollout.revision if self.rollout else self.configured


class RolloutDesk:
    """One move at a time. `configured` reads the bundle of the configuration as it is now; BundleError, see there."""

    def __init__(
        self,
        journal: Journal,
        reader: LogReader,
        place: SidePlace,
        configured: Callable[[], Bundle],
        settings: Policy,
    ) -> None:
        self._journal = journal
        self._shadow = ShadowCounts(reader)
        self._place = place
        self._read = configured
        self._settings = settings
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._comparing = threading.Lock()
        self._counted: tuple[float, Mapping[str, Counts]] = (float("-inf"), {})
        self._compared: dict[tuple[str, str], tuple[Difference, ...]] = {}
        self._reading = threading.Lock()
        self._had: tuple[float, Bundle | BundleError] = (float("-inf"), BundleError([]))

    def all(self) -> list[Rollout]:
        """Every roll-out, the common bundle's first, the one that decides first of each scope."""
        return ordered(self._journal.control.rollouts)

    def one(self, rollout: str) -> Rollout:
        """A roll-out; `NotFound` where there is none."""
        found = self._journal.control.rollouts.get(rollout)
        if found is None:
            raise NotFound("There is no such roll-out, or it was withdrawn.")
        return found

    def counts(self) -> Mapping[str, Counts]:
        """What was counted in shadow, by roll-out; the log is read on at most every two seconds."""
        with self._counting:
            at, found = self._counted
            if time.monotonic() - at > REMEMBER_SECONDS:
                found = self._shadow.of(self.all())
                self._counted = (time.monotonic(), found)
            return found

    def in_force(self) -> InForce:
        """What decides now, as far as it can be said here: workers take up a changed folder a moment later."""
        now = live(self._journal.control.rollouts, "")
        try:
            configured = self.configured().revision
        except BundleError as error:
            return InForce(now, "", problem=str(error))
        if now is not None and gives_way(now, configured, self._settings):
            return InForce(None, configured, given_way=now)
        return InForce(now, configured)

    def configured(self) -> Bundle:
        """The configured bundle, as it was at most two seconds ago; BundleError where it cannot be read."""
        if not self._reading.acquire(timeout=COMPARE_SECONDS):
            raise BundleError([Problem(".", 0, 0, "busy", "the configured bundle is still being read", "look again")])
        try:
            at, found = self._had
            if time.monotonic() - at > REMEMBER_SECONDS:
                try:
                    found = self._read()
                except BundleError as error:
                    found = error
                self._had = (time.monotonic(), found)
        finally:
            self._reading.release()
        if isinstance(found, BundleError):
            raise BundleError(found.problems)
        return found

    def bundle(self, rollout: Rollout) -> Bundle:
        """The bundle of a roll-out; BundleError or SideError where it cannot be had."""
        with closing(self._place.side()) as side:
            return stored_bundle(BundleStore(side).get, rollout)

    def compare(self, rollout: Rollout) -> Compared:
        """What the roll-out's bundle changes against the one that decides there now, or decided before it."""
        before = compared_with(self._journal.control.rollouts, rollout)
        against = before.id if before is not None else "" if rollout.scope else CONFIGURED
        # Comparing takes a moment of a processor, and a bundle server may take its time: one at a time, while others
        # wait a little, so that they do not take up all of the console's threads. What was compared is remembered.
        if not self._comparing.acquire(timeout=COMPARE_SECONDS):
            return Compared(against, problem="Something else is being compared just now. Look again in a moment.")
        try:
            if before is None:
                base = _NOTHING if rollout.scope else self.configured()
                return Compared(against, self._changes(_name(base), rollout, lambda: base))
            return Compared(against, self._changes(before.digest, rollout, lambda: self.bundle(before)))
        except (BundleError, SideError) as error:
            return Compared(against, problem=str(error))
        finally:
            self._comparing.release()

    def approve(self, rollout: str, *, digest: str, by: str) -> None:
        """Let a bundle decide calls; `digest` is that of the archive that was looked at."""
        self._move(lambda stamp, state: actions.approve_bundle(stamp, state, rollout=rollout, digest=digest, by=by))

    def stage(self, rollout: str, stage: str, *, share: int = 0, tenants: Collection[str] = (), by: str) -> None:
        """Bring a roll-out to a stage; a live one to draft goes back to the one before it."""
        base = ""
        if stage != "draft":
            found = self.one(rollout)
            try:
                self.bundle(found)
                base = self._read().revision if stage == "live" and not found.scope else ""
            except (BundleError, SideError) as error:
                raise Conflict(f"A bundle cannot be read: {error}") from error
        facts = {"rollout": rollout, "stage": stage, "share": share, "tenants": tenants, "base": base}
        self._move(lambda stamp, state: actions.stage_bundle(stamp, state, by=by, **facts))  # type: ignore[arg-type]

    def withdraw(self, rollout: str, *, reason: str, by: str) -> None:
        """Take a roll-out away."""
        self._move(lambda stamp, state: actions.withdraw_bundle(stamp, state, rollout=rollout, by=by, reason=reason))

    def _move(self, make: Callable[[Stamp, ControlState], Record]) -> None:
        """Append the record and see that it had its effect: another node may have been quicker."""
        with self._turn:
            try:
                record = make(self._journal.stamp(), self._journal.control)
            except UnknownTarget as error:
                raise NotFound("There is no such roll-out, or it was withdrawn.") from error
            except ActionError as error:
                raise refused(error) from error
            self._journal.append(record)
            if not took_effect(self._journal.control.rollouts, record):
                raise Conflict("Somebody else moved it at the same moment. Look at it again.")

    def _changes(self, name: str, rollout: Rollout, read: Callable[[], Bundle]) -> tuple[Difference, ...]:
        """What the bundle changes against the one that `read` gives, which `name` stands for."""
        key = (name, rollout.digest)
        found = self._compared.get(key)
        if found is None:
            found = tuple(differences(read(), self.bundle(rollout)))
            if len(self._compared) >= MOST_COMPARED:
                self._compared.clear()
            self._compared[key] = found
        return found


def _name(bundle: Bundle) -> str:
    """What stands for the bundle and its tests, which are no part of its own digest."""
    return f"{bundle.digest} {hash(tuple(sorted(bundle.tests.items())))}"


_NOTHING: Final = Bundle("", "", {}, {}, {}, "{}")
