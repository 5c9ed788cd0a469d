"""Processes that hold policy: nothing of the parent's environment, and an end at their limits."""

from __future__ import annotations

import signal
import subprocess
import sys

from policies.processes import ENVIRONMENT, command

_LIMITED = "from policies.processes import limit; limit(1 << 30, 1); "


def run(code: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-P", "-c", code], env=ENVIRONMENT, capture_output=True, timeout=30)


def test_a_module_is_run_by_this_python_with_its_arguments() -> None:
    assert command("policies.trial_worker", "3") == [sys.executable, "-P", "-m", "policies.trial_worker", "3"]


def test_nothing_else_of_the_environment_is_handed_on() -> None:
    names = run("import os; print(*sorted(os.environ))").stdout.split()
    assert set(names) - {b"LC_CTYPE"} == {b"PATH", b"PYTHONPATH", b"RUST_LIB_BACKTRACE"}


def test_too_much_memory_and_too_much_time_are_the_end() -> None:
    assert b"MemoryError" in run(_LIMITED + "bytes(2 << 30)").stderr
    assert run(_LIMITED + "\nwhile True: pass").returncode == -signal.SIGXCPU
    assert run(_LIMITED + "bytes(1 << 20)").returncode == 0
