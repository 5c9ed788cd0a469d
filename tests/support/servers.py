"""Where the real servers and tools lie that tests talk to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "bin"


def find_binary(name: str) -> Path | None:
    """The executable `name`: $CORDON_<NAME> when set, else `.cache/bin/<name>`, else from the PATH; None if nowhere."""
    configured = os.environ.get(f"CORDON_{name.upper().replace('-', '_')}")
    candidates = [configured] if configured else [str(CACHE / name), shutil.which(name) or ""]
    return next((Path(path) for path in candidates if path and os.access(path, os.X_OK)), None)
