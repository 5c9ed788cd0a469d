"""Runs `cordon` commands for tests: in this process, or as a program of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cordon.cli import run

ROOT = Path(__file__).parents[2]
STARTER = """\
data_dir: var
policy: {bundle: %s}
gateway: {listen: "127.0.0.1:0", limits: {drain_time: 1}}
control: {listen: "127.0.0.1:0"}
tenants:
  - {id: acme, residency: [EU, US]}
  - {id: globex, residency: [EU]}
routes:
  - id: crm
    prefix: /crm
    kind: http
    endpoints: [{id: crm-eu, url: "http://127.0.0.1:9/crm", jurisdiction: EU}]
"""


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Its output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


class Installation:
    """A configuration in a directory of its own, and commands that work on it."""

    def __init__(self, directory: Path, text: str | None = None) -> None:
        self.directory = directory
        self.file = directory / "cordon.yaml"
        self.file.write_text(text or STARTER % (ROOT / "policies/bundles/starter"))

    def __call__(self, *arguments: str) -> Result:
        """Run a command in this process; -c is added."""
        out = io.TextIOWrapper(io.BytesIO(), "utf-8")
        err = io.StringIO()
        os.environ["CORDON_CONFIG"] = str(self.file)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = run(arguments)
        finally:
            del os.environ["CORDON_CONFIG"]
        out.flush()
        assert isinstance(out.buffer, io.BytesIO)
        return Result(code, out.buffer.getvalue().decode(), err.getvalue())

    def program(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Result:
        """Run a command as a program of its own."""
        done = subprocess.run(
            [sys.executable, "-m", "cordon.cli", *arguments],
            cwd=self.directory,
            env={**os.environ, "CORDON_CONFIG": str(self.file), "PYTHONPATH": str(ROOT), **(environment or {})},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Result(done.returncode, done.stdout, done.stderr)
