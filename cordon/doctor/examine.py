"""Runs every check; one that breaks is a finding itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from cordon.config import Config, load
from cordon.doctor import machine
from cordon.doctor.bundle import examine_bundle
from cordon.doctor.decision_logs import examine_decision_logs
from cordon.doctor.finding import Finding, fail, ok
from cordon.doctor.opa import examine_opa
from cordon.doctor.rollouts import examine_rollouts
from cordon.doctor.running import examine_running
from cordon.doctor.settings import examine_settings
from cordon.doctor.storage import examine_storage
from cordon.errors import ConfigError


def examine(file: Path) -> Iterator[Finding]:
    """All findings on the installation that `file` configures."""
    yield machine.python()
    try:
        config = load(file)
    except ConfigError as error:
        for problem in error.problems:
            yield fail("configuration", problem.at(str(file)), "mend it; docs/reference/configuration.md tells how")
        return
    yield ok("configuration", f"{file}: {len(config.routes)} routes, {len(config.tenants)} tenants")
    for check in CHECKS:
        try:
            yield from check(config)
        except Exception as error:
            name = check.__name__.removeprefix("examine_").strip("_")
            yield fail(name, f"could not be checked: {type(error).__name__}: {error}", "see CORDON_DEBUG=1")


def _limits(config: Config) -> Iterator[Finding]:
    yield machine.limits(config)


def _disk(config: Config) -> Iterator[Finding]:
    yield machine.disk(config)


CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    _limits,
    _disk,
    machine.clock,
    examine_settings,
    examine_bundle,
    examine_rollouts,
    examine_opa,
    examine_decision_logs,
    examine_storage,
    examine_running,
)
