"""Servers that a machine lacks: they are written down, named at the end of a test run, and a failure on CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISSING = "opa\tthat both engines agree\tneeds Go\n"


def run_tests(
    directory: Path, missing: str, ci: str, test: str = "def test_it(): pass\n"
) -> subprocess.CompletedProcess[str]:
    """A test run with the project's conftest in a directory of its own."""
    (directory / "tests").mkdir()
    (directory / ".cache").mkdir()
    (directory / ".cache/missing").write_text(missing)
    (directory / "tests/test_it.py").write_text(test)
    shutil.copy(ROOT / "tests/conftest.py", directory / "tests")
    environment = {**os.environ, "CI": ci, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(directory), "tests"]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60)


def test_a_missing_server_is_named_in_the_last_lines(tmp_path: Path) -> None:
    done = run_tests(tmp_path, MISSING, "")
    assert done.returncode == 0
    assert "opa: that both engines agree went untested; needs Go" in done.stdout.splitlines()[-3:]


def test_on_ci_it_is_a_failure(tmp_path: Path) -> None:
    assert run_tests(tmp_path, MISSING, "true").returncode == 1


def test_with_every_server_ci_passes(tmp_path: Path) -> None:
    done = run_tests(tmp_path, "", "true")
    assert done.returncode == 0
    assert "not tested" not in done.stdout


def test_a_failing_test_stays_one(tmp_path: Path) -> None:
    assert run_tests(tmp_path, MISSING, "", "def test_it(): assert False\n").returncode == 1


@pytest.fixture
def poor(tmp_path: Path) -> Path:
    """A copy of the script on a machine with a shell and nothing else."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "mkdir", "rm", "cut", "sed", "dirname", "id", "printf", "touch", "mv"):
        found = shutil.which(tool)
        assert found
        (tools / tool).symlink_to(found)
    (tmp_path / "scripts").mkdir()
    script = (ROOT / "scripts/servers").read_text().replace("PATH=$PATH:/usr/sbin:/sbin:$postgres_bin ", "")
    (tmp_path / "scripts/servers").write_text(script)
    return tmp_path


def servers(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [directory / "bin/bash", directory / "scripts/servers"],
        env={"PATH": str(directory / "bin")}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_what_cannot_be_had_is_written_down_and_told(poor: Path) -> None:
    done = servers(poor)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in (poor / ".cache/missing").read_text().splitlines()]
    assert {name for name, *_ in rows} == {
        *("postgres", "nginx", "wrk", "chromium", "gcc"),
        *("opa", "fsck", "compose-config"),
    }
    assert all(len(row) == 3 and all(row) for row in rows)
    assert "Servers that this machine lacks:" in done.stdout
    assert "needs Go" in done.stdout


def test_a_program_of_the_same_name_elsewhere_is_not_taken_for_it(poor: Path) -> None:
    """Every Linux has an fsck, which checks file systems."""
    (poor / "bin/fsck").symlink_to(shutil.which("true") or "")
    servers(poor)
    assert "fsck\t" in (poor / ".cache/missing").read_text()


def test_what_is_there_is_not_built_again(poor: Path) -> None:
    there = poor / ".cache/bin"
    there.mkdir(parents=True)
    for name, version in (("opa", "v1.22.2"), ("fsck", "v1.0.4"), ("compose-config", "v2.10.1")):
        (there / name).symlink_to(shutil.which("true") or "")
        (there / f".{name}-{version}").touch()
    for name in ("postgres", "nginx", "wrk", "chromium", "gcc"):
        (poor / "bin" / name).symlink_to(shutil.which("true") or "")
    done = servers(poor)
    assert (done.stdout, (poor / ".cache/missing").read_text()) == ("", "")
