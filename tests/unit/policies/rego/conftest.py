"""Builtins are called here without an engine, which begins each evaluation with what its document says of numbers."""

from __future__ import annotations

import pytest

from policies.rego.digits import WRITTEN


@pytest.fixture(autouse=True)
def numbers_written_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an evaluation of a document whose numbers are all written as they are printed."""
    monkeypatch.setattr(WRITTEN, "otherwise", False)
