"""The JSON Schemas of what goes into a decision and what comes out of it, as files for editors and tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

Name = Literal["input.request", "input.response", "result.request", "result.response"]


def load(name: Name) -> dict[str, Any]:
    """The schema `name`, as a JSON value (draft 2020-12)."""
    schema: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return schema
