"""Who acts from the command line, as records name it, and in which life of which process.

The user is the one that the operating system runs this process as. Nothing in the environment counts (`LOGNAME`,
`USER`, `SUDO_USER`, `SUDO_UID`): whoever starts a process chooses it. So all who act through one shared account of the
machine are one person here; they are told apart by their accounts on the console.
"""

from __future__ import annotations

import os
import pwd
import re
from typing import Final

from lineage.actions import Stamp
from lineage.record import new_call_id

BOOT: Final = f"cli-{new_call_id()}"
"""This process's life, in the records that it writes."""


def actor() -> str:
    """The user of this machine, such as cli:alice; cli:uid-1000 where the machine has no name for it."""
    user = os.getuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = f"uid-{user}"
    return f"cli:{re.sub(r'[^A-Za-z0-9._-]', '_', name)}"[:128]


def stamp() -> Stamp:
    """The present moment in this process's life."""
    return Stamp.now(BOOT)
