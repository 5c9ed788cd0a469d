"""What is installed, built and composed holds everything that the program needs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from cordon.config import load
from tests.support.servers import find_binary

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in the wheel."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    with zipfile.ZipFile(next(directory.glob("*.whl"))) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_packages(wheel: set[str]) -> None:
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    here = {name for name in tracked.stdout.splitlines() if (ROOT / name).exists()}
    assert here
    assert not here - wheel


def test_the_wheel_holds_nothing_else(wheel: set[str]) -> None:
    assert {name.partition("/")[0] for name in wheel} - set(PACKAGES) == {"cordon_gateway-0.1.0.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in wheel)


def test_the_image_is_built_from_the_locked_packages_and_runs_as_nobody() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "FROM python:3.11-slim" in text
    assert "--require-hashes --no-deps --requirement requirements.lock" in text
    assert re.search(r"^USER cordon$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text
    assert "STOPSIGNAL SIGTERM" in text
    for package in PACKAGES:
        assert f"COPY {package} {package}\n" in text


def test_everything_that_the_image_copies_is_there_and_not_ignored() -> None:
    kept = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert Path(source).parts[0] in kept, source


def test_the_image_s_configuration_is_in_order(tmp_path: Path) -> None:
    shutil.copy(ROOT / "deploy/container/cordon.yaml", tmp_path)
    shutil.copytree(ROOT / "policies/bundles/starter", tmp_path / "policies/bundles/starter")
    config = load(tmp_path / "cordon.yaml", {})
    assert config.data_dir == Path("/var/lib/cordon")
    assert config.control.listen == "0.0.0.0:8081"


def test_the_compose_file_is_read_by_docker_compose_s_own_library() -> None:
    reader = find_binary("compose-config")
    if reader is None:
        pytest.skip("compose-config is missing; `make servers` says why")
    done = subprocess.run([reader, "docker-compose.yml"], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    service = yaml.safe_load(done.stdout)["services"]["cordon"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert {port["host_ip"] for port in service["ports"]} == {"127.0.0.1"}
    for volume in service["volumes"]:
        assert volume["type"] == "volume" or Path(volume["source"]).exists()


def test_the_compose_file_is_in_order_for_docker_compose_where_it_is_there() -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        return  # the test above reads it with the same library
    done = subprocess.run(
        ["docker", "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_no_address_of_a_package_index_is_in_the_repository() -> None:
    hosts = ("pypi" + ".org", "pythonhosted" + ".org", "--index" + "-url", "--extra-index" + "-url")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 2_000_000 and name != "tests/contracts/test_packaging.py":
            text = path.read_text("utf-8", "replace")
            assert not any(host in text for host in hosts), name


def test_make_help_tells_every_target() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert f"  make {target} " in told


def test_ci_runs_what_a_developer_runs() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert script.rstrip().endswith("exec make test")
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


@pytest.mark.parametrize("versions", [(3, 10), (2, 7)])
def test_an_old_python_is_refused_in_words(tmp_path: Path, versions: tuple[int, int]) -> None:
    """A python3 that fails the version check stands first on the PATH; no other can be found."""
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "python3").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {versions[0]}.{versions[1]}" && exit\nexit 1\n'
    )
    (fake / "python3").chmod(0o755)
    for tool in ("bash", "cat", "sh", "rm"):
        (fake / tool).symlink_to(shutil.which(tool) or "")
    script = (ROOT / "scripts/venv").read_text().replace(" /usr/bin/python3", "")
    (tmp_path / "venv").write_text(script)
    done = subprocess.run(
        [fake / "bash", tmp_path / "venv", tmp_path / "new", "requirements.lock"],
        env={"PATH": str(fake)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        f"Cordon needs Python 3.11 or newer with its venv module; here: Python {versions[0]}.{versions[1]}"
        in done.stderr
    )
    assert not (tmp_path / "new").exists()
