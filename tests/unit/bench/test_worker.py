"""The measurements of one process work on what is measured: each goes through once, with few calls."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from bench.systems import ROOT


def _run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("load", [[], ["--stream"], ["--stream", "--per-read", "20"]])
def test_a_call_in_the_worker_alone_is_measured(load: list[str]) -> None:
    told = _run("bench.worker", "--calls", "64", *load)
    assert re.fullmatch(r"\d+\.\d µs a call\n", told), told


def test_inspection_is_measured_whole_and_in_streams() -> None:
    lines = _run("bench.scanner", "20").splitlines()
    assert len(lines) == 16
    assert all(re.search(r" +\d+ B +\d+\.\d µs +\d+\.\d µs/KB$", line) for line in lines)
