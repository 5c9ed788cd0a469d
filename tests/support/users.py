"""Commands as other users of the machine would type them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Final

import pytest

ANOTHER: Final = "daemon"
"""A user that every machine has, and that nobody is."""


@contextmanager
def as_user(name: str) -> Iterator[None]:
    """Have the commands of this process see themselves run as that user; files are still opened as whoever it is.

    `tests/unit/cordon/test_acting.py` shows with a process of another user that this is what is looked at.
    """
    uid = pwd.getpwnam(name).pw_uid
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cordon.acting.os", SimpleNamespace(getuid=lambda: uid))
        yield


def myself() -> str:
    """The name of the user that the tests run as."""
    return pwd.getpwuid(os.getuid()).pw_name
