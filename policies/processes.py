"""How the processes are started in which policy of unknown quality is evaluated, and what they may take."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from policies.errors import PolicyError

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


def ask(module: str, request: Mapping[str, object], seconds: float, doing: str) -> dict[str, Any]:
    """The JSON object that a module answers `request` with; then it is gone, with all that it started.

    PolicyError where `doing` that takes too long, or the process breaks down.
    """
    process = subprocess.Popen(
        command(module),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    try:
        output, _ = process.communicate(json.dumps(request).encode(), seconds)
    except subprocess.TimeoutExpired:
        raise PolicyError(f"{doing} took longer than {seconds:g} s") from None
    finally:
        _end(process)
    if process.returncode != 0:
        raise PolicyError("the policy engine broke down on it, or ran out of memory")
    answer: dict[str, Any] = orjson.loads(output)
    return answer


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started, which may be there still where it broke down."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
