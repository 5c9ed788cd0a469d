"""Who acts from the command line, as records name it, and in which life of which process."""

from __future__ import annotations

import getpass
import re
from typing import Final

from lineage.actions import Stamp
from lineage.record import new_call_id

BOOT: Final = f"cli-{new_call_id()}"
"""This process's life, in the records that it writes."""


def actor() -> str:
    """The user of this machine, such as cli:alice."""
    try:
        user = re.sub(r"[^A-Za-z0-9._-]", "_", getpass.getuser())
    except (KeyError, OSError):
        user = "unknown"
    return f"cli:{user}"[:128]


def stamp() -> Stamp:
    """The present moment in this process's life."""
    return Stamp.now(BOOT)
