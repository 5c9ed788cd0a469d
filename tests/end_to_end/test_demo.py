"""The demonstration goes as told, says so by its exit code, and leaves a log that the command line can verify."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cordon import cli
from cordon.demo import session as demonstration
from cordon.demo.clients import Refused
from cordon.demo.screen import Screen
from tests.support.gateway import ROOT
from tests.support.logs import data_directory


def test_the_demonstration_goes_as_told() -> None:
    with data_directory() as directory:
        command = [sys.executable, "-m", "cordon.cli", "demo", "--directory", str(directory)]
        environment = os.environ | {"COLUMNS": "90"}
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Everything went as told." in done.stdout and "✗" not in done.stdout
        assert "4111 1111 1111 1111" in done.stdout and "[PAYMENT_CARD]" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 90
        assert cli.run(["log", "verify", "-c", str(directory / "cordon.yaml"), "--json"]) == 0


def test_what_does_not_go_as_told_is_named_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Nothing:
        url, file = "http://127.0.0.1:9", Path("cordon.yaml")

        def keys(self) -> None:
            """Nobody has one."""

    @contextmanager
    def stage(directory: Path) -> Iterator[Nothing]:
        yield Nothing()

    def goes_wrong(running: object, screen: Screen, keys: object) -> None:
        screen.check(False, "the moon is made of cheese")
        raise Refused("Oh", 500, "an unforeseen refusal")

    monkeypatch.setattr(demonstration, "stage", stage)
    monkeypatch.setattr(demonstration, "SCENES", (goes_wrong,))
    monkeypatch.setattr(demonstration, "EVIDENCE", ())
    assert demonstration.play(Path("nowhere")) == 1
    output = capsys.readouterr().out
    assert "2 things did not go as told" in output and "cheese" in output and "unforeseen" in output
