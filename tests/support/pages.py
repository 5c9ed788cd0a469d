"""Types the commands of a page of the documentation, word for word, into one shell beside a running Cordon.

Every block of the page that is marked `sh` is typed, in the order of the page; `console` and other blocks are not.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.gateway import BUNDLE, ROOT, START_SECONDS, STOP_SECONDS, free_ports

MARK = "===== next block ====="


def blocks(page: str) -> list[str]:
    """The commands of a page (its path below the repository), block by block."""
    return re.findall(r"^```sh\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def outputs(page: str) -> list[str]:
    """What a page shows as printed by commands (blocks marked `console`), in its order."""
    return re.findall(r"^```console\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


@contextmanager
def typed(page: str, folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[list[str]]:
    """What each block of `page` printed; `folder` becomes an installation with the starter's files, running."""
    ports = dict(zip(("8080", "8081", "8082"), map(str, free_ports(3)), strict=True))
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{command_folder(folder)}:{ROOT / '.cache/bin'}:{os.environ['PATH']}",
        **(environment or {}),
    }
    (folder / "cordon.yaml").write_text(_moved((ROOT / "cordon/templates/cordon.yaml").read_text(), ports))
    shutil.copytree(BUNDLE, folder / "policies/bundles/starter")
    up = subprocess.Popen(
        ["cordon", "up", "--first-run", "--json"], cwd=folder, env=env, stdout=subprocess.PIPE, text=True
    )
    assert up.stdout is not None
    try:
        assert select.select([up.stdout], [], [], START_SECONDS)[0], "cordon up said nothing"
        assert up.stdout.readline()
        script = f"\necho; echo '{MARK}'\n".join(_moved(block, ports) for block in blocks(page))
        script = script.replace(". .venv/bin/activate\n", "")
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=folder, env={**env, "CORDON_PID": str(up.pid)}, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        yield done.stdout.split(f"{MARK}\n")
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGTERM)
        up.wait(STOP_SECONDS)
        up.stdout.close()


def command_folder(folder: Path) -> Path:
    """A folder with `cordon` and `python` as this interpreter runs them."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    for name, arguments in (("cordon", " -m cordon.cli"), ("python", "")):
        command = commands / name
        command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable}{arguments} "$@"\n')
        command.chmod(0o755)
    return commands


def _moved(text: str, ports: Mapping[str, str]) -> str:
    return re.sub("|".join(ports), lambda match: ports[match[0]], text)
