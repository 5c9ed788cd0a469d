"""What every test run shares: at its end, the real servers that were missing and what went untested for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MISSING = Path(__file__).parent.parent / ".cache" / "missing"


def missing_servers() -> list[list[str]]:
    """Rows of name, what stays untested and why, as `make servers` wrote them."""
    if not MISSING.exists():
        return []
    return [line.split("\t") for line in MISSING.read_text().splitlines() if line]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A server that CI lacks is a failure: there, everything must have been tested."""
    if missing_servers() and os.environ.get("CI") == "true" and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name them in the last lines."""
    rows = missing_servers()
    if rows:
        terminalreporter.section("not tested: servers that this machine lacks")
    for name, untested, why in rows:
        terminalreporter.line(f"{name}: {untested} went untested; {why}")
