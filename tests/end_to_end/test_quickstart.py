"""The quickstart, typed word for word on the starter configuration and the starter bundle."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import BUNDLE, ROOT, START_SECONDS, STOP_SECONDS, free_ports

PAGE = (ROOT / "docs/quickstart.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What each block printed, in the order of the page, all in one shell."""
    folder = tmp_path_factory.mktemp("q")
    gateway, control, standin = (str(port) for port in free_ports(3))
    ports = {"8080": gateway, "8081": control, "8082": standin}
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT), "PATH": f"{_commands(folder)}:{os.environ['PATH']}"}
    starter = (ROOT / "cordon/templates/cordon.yaml").read_text()
    (folder / "cordon.yaml").write_text(_moved(starter, ports))
    shutil.copytree(BUNDLE, folder / "policies/bundles/starter")
    up = subprocess.Popen(
        ["cordon", "up", "--first-run", "--json"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert up.stdout is not None
    try:
        assert select.select([up.stdout], [], [], START_SECONDS)[0], "cordon up said nothing"
        assert up.stdout.readline()
        blocks = [block.replace(". .venv/bin/activate\n", "") for block in BLOCKS]
        script = "\necho; echo =====\n".join(_moved(block, ports) for block in blocks)
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr + done.stdout
        yield done.stdout.split("=====\n")
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(STOP_SECONDS)
        up.stdout.close()


def test_the_allowed_call_is_redacted_and_recorded(session: list[str]) -> None:
    text = session[1]
    assert "HTTP/1.1 200 OK" in text
    assert "x-cordon-decision: redacted" in text
    assert "call.intent" in text
    assert "call.outcome" in text
    assert "4111" not in text


def test_the_refused_call_names_its_rule(session: list[str]) -> None:
    assert '"type":"permission_error"' in session[2]
    assert "residency.no_endpoint" in session[2]


def test_the_starter_bundle_passes_its_checks_and_tests(session: list[str]) -> None:
    assert "fail" not in session[3].lower() or "0 failed" in session[3].lower()


def test_containment_refuses_and_a_release_undoes_it(session: list[str]) -> None:
    refused, _, after = session[4].partition("isolated")
    assert refused and after
    assert "jana" in session[4].lower() or "1001" in session[4]


def test_a_record_is_proved_and_the_log_verified(session: list[str]) -> None:
    assert "c2sp.org/tlog-proof@v1" in session[5]
    assert "records" in session[5]


def _commands(folder: Path) -> Path:
    """A folder with `cordon` as this interpreter runs it."""
    commands = folder / "bin"
    commands.mkdir()
    command = commands / "cordon"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cordon.cli "$@"\n')
    command.chmod(0o755)
    return commands


def _moved(text: str, ports: dict[str, str]) -> str:
    return re.sub("|".join(ports), lambda match: ports[match[0]], text)
