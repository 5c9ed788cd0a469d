"""Everything that the console's routes work with, put together in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine

from lineage.metrics import Meter
from lineage.reader import LogReader
from lineage.side_place import SidePlace
from policies.bundle import Bundle
from policies.errors import BundleError, Problem
from policies.settings import Policy
from siem.console.accounts import Accounts
from siem.console.journal import Journal
from siem.console.operations import Operations
from siem.console.playground import Playground
from siem.console.proposals import Proposals
from siem.console.rollouts import RolloutDesk
from siem.console.sessions import Sessions
from siem.console.sign_in import SignIn
from siem.decision_logs.settings import DecisionLog
from siem.settings import Control


def _no_bundle() -> Bundle:
    raise BundleError([Problem("policy.bundle", 0, 0, "missing", "no bundle is configured")])


@dataclass(frozen=True, slots=True)
class Facts:
    """What the pages need of the configuration; `routes` maps a route's id to its endpoints' ids.

    `configured` reads the configured policy bundle as it is now; BundleError where it cannot be had. `policy` are its
    settings. `decision_logs` are the destinations of decision logs.
    """

    tenants: tuple[str, ...] = ()
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    configured: Callable[[], Bundle] = _no_bundle
    policy: Policy = field(default_factory=Policy)
    decision_logs: tuple[DecisionLog, ...] = ()


@dataclass(frozen=True, slots=True)
class Deps:
    """The parts of one control server."""

    settings: Control
    data_dir: Path
    state: Engine
    reader: LogReader
    journal: Journal
    accounts: Accounts
    sessions: Sessions
    sign_in: SignIn
    operations: Operations
    rollouts: RolloutDesk
    playground: Playground
    proposals: Proposals
    facts: Facts


def assemble(
    settings: Control,
    data_dir: Path,
    state: Engine,
    reader: LogReader,
    journal: Journal,
    facts: Facts,
    meter: Meter,
    database: str = "",
) -> Deps:
    """The parts, wired; `database` is the setting of that name."""
    accounts = Accounts(state, journal.append, journal.boot, invitation_seconds=settings.invitation_hours * 3600)
    sessions = Sessions(
        state, longest_ms=int(settings.session_hours * 3_600_000), idle_ms=int(settings.idle_minutes * 60_000)
    )
    place = SidePlace(data_dir, database)
    rollouts = RolloutDesk(journal, reader, place, facts.configured, facts.policy)
    return Deps(
        settings=settings,
        data_dir=data_dir,
        state=state,
        reader=reader,
        journal=journal,
        accounts=accounts,
        sessions=sessions,
        sign_in=SignIn(accounts, sessions, journal),
        operations=Operations(journal, reader),
        rollouts=rollouts,
        playground=Playground(journal, reader, place, rollouts, facts.policy, meter),
        proposals=Proposals(journal, place, facts.policy, settings.archive_limit, meter),
        facts=facts,
    )


def _deps(request: Request) -> Deps:
    deps: Deps = request.app.state.deps
    return deps


Parts = Annotated[Deps, Depends(_deps)]
"""A route's parameter that receives the parts."""
