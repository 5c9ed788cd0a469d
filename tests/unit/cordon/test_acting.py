"""Who a command is by: what the operating system says, and nothing that somebody can set."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys

import pytest

from cordon.acting import actor
from tests.support.cli import ROOT
from tests.support.users import ANOTHER, as_user, myself

FORGED = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"), "mallory") | {"SUDO_UID": "1"}
TELL = "from cordon.acting import actor; print(actor())"


def test_nothing_in_the_environment_makes_somebody_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FORGED.items():
        monkeypatch.setenv(name, value)
    assert actor() == f"cli:{myself()}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root starts processes of another user")
def test_a_process_of_another_user_is_by_that_user() -> None:
    other = pwd.getpwnam(ANOTHER)
    # The modules are read by this user before; the other one may not be allowed to see them.
    change = f"import cordon.acting, os; os.setgid({other.pw_gid}); os.setuid({other.pw_uid}); {TELL}"
    done = subprocess.run(
        [sys.executable, "-c", change], cwd=ROOT, env=os.environ | FORGED, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"cli:{ANOTHER}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes a user that has no name")
def test_a_user_without_a_name_is_known_by_the_number() -> None:
    change = f"import cordon.acting, os; os.setuid(65531); {TELL}"
    done = subprocess.run([sys.executable, "-c", change], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cli:uid-65531"


def test_tests_take_the_place_of_another_user_as_the_system_would_name_it() -> None:
    with as_user(ANOTHER):
        assert actor() == f"cli:{ANOTHER}"
