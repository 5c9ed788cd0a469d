"""What an operator configures of policy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from lineage.settings import Settings

RULE_PATH = r"^data(\.[a-zA-Z_][a-zA-Z0-9_]*)+$"


class Policy(Settings):
    """The bundle that decides and the engine that evaluates it."""

    bundle: Path = Field(
        Path("policies/bundles/starter"), description="folder of .rego files and data.json or data.yaml"
    )
    engine: Literal["embedded"] = Field("embedded", description="what evaluates the bundle; embedded: in each worker")
    request_rule: str = Field(
        "data.cordon.request.decision",
        pattern=RULE_PATH,
        description="rule that decides before dispatch; data.envoy.authz.allow in many opa-envoy-plugin bundles",
    )
    response_rule: str = Field(
        "data.cordon.response.decision", pattern=RULE_PATH, description="rule that decides on answers"
    )
    result_style: Literal["cordon", "opa-envoy"] = Field(
        "cordon", description="how the request rule's result reads; opa-envoy: a boolean, or an object with `allowed`"
    )
    unsafe_pass_answers: bool = Field(
        False,
        description="let answers pass undecided, for a bundle that has no response rule; they are still inspected",
    )
    reload_seconds: float = Field(1.0, gt=0, description="how often the bundle is looked at for changes")
    admission_seconds: float = Field(20.0, gt=0, description="longest time that admission of a bundle may take")
    decision_ms: float = Field(50.0, gt=0, description="largest measured cost of one decision; a dearer one is refused")
