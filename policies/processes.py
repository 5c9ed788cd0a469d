"""How the processes are started in which policy of unknown quality is evaluated, and what they may take."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Final

ENVIRONMENT: Final = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": os.defpath, "RUST_LIB_BACKTRACE": "0"}
"""All that such a process gets of its parent's environment."""


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of Cordon's in a process of its own."""
    return [sys.executable, "-P", "-m", module, *arguments]


def limit(memory: int, cpu_seconds: int | None = None) -> None:
    """End this process at `memory` bytes of address space, or so much time of a processor; it leaves no core file.

    Only the soft limit of time is set: the processes that this one starts have limits of their own.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if cpu_seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
