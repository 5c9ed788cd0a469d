"""Where the real servers and tools lie that tests talk to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache" / "bin"
AMBIGUOUS = {"fsck"}
"""Names that another program has on most machines: these are not taken from the PATH."""


def find_binary(name: str) -> Path | None:
    """The executable `name`: $CORDON_<NAME> when set, else `.cache/bin/<name>`, else from the PATH; None if nowhere."""
    configured = os.environ.get(f"CORDON_{name.upper().replace('-', '_')}")
    on_path = None if name in AMBIGUOUS else shutil.which(name)
    candidates = [configured] if configured else [str(CACHE / name), on_path]
    return next((Path(path) for path in candidates if path and os.access(path, os.X_OK)), None)


def require_binary(name: str) -> Path:
    """The executable `name`; without it the test is skipped, and the end of the run says what went untested."""
    binary = find_binary(name)
    if binary is None:
        pytest.skip(f"{name} is not on this machine; `make servers` gets it")
    return binary
