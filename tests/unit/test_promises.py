"""Each promise names tests, and each test that is named exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/promises.md").read_text()


def test_every_test_that_a_promise_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    missing = [f"{path}::{name}" for path, name in named if name not in _tests(ROOT / path)]
    assert named
    assert not missing


def test_every_promise_names_a_test() -> None:
    promises = re.split(r"^\d+\. ", TEXT, flags=re.MULTILINE)[1:]
    assert len(promises) == 10
    assert all("::test_" in promise for promise in promises)


def _tests(path: Path) -> set[str]:
    if not path.exists():
        return set()
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
