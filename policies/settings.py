"""What an operator configures of policy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from lineage.settings import Settings


class Policy(Settings):
    """The bundle that decides and the engine that evaluates it."""

    bundle: Path = Field(Path("policies/bundles/starter"), description="directory of .rego files with data.json or data.yaml")
    engine: Literal["embedded"] = "embedded"
    reload_seconds: float = Field(1.0, gt=0, description="how often the bundle is looked at for changes")
    admission_seconds: float = Field(20.0, gt=0, description="longest time that admission of a bundle may take")
    decision_ms: float = Field(50.0, gt=0, description="largest measured cost of one decision; a dearer bundle is refused")
