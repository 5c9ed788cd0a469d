"""What an operator configures of policy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from lineage.settings import Settings

RULE_PATH = r"^data(\.[a-zA-Z_][a-zA-Z0-9_]*)+$"
_OF_OPA = ("url", "push", "credential", "ca", "deadline_ms", "connections")


class Policy(Settings):
    """The bundle that decides and the engine that evaluates it."""

    bundle: Path = Field(
        Path("policies/bundles/starter"), description="folder of .rego files and data.json or data.yaml"
    )
    engine: Literal["embedded", "opa"] = Field(
        "embedded", description="what evaluates the bundle; embedded: each worker itself; opa: the OPA server at `url`"
    )
    url: str = Field("", description="base URL of the OPA server, such as http://127.0.0.1:8181 (engine: opa)")
    push: bool = Field(
        True,
        description="put the bundle into the OPA server; false: the server has its bundles from elsewhere, and "
        "`bundle` is not read (engine: opa)",
    )
    credential: str = Field(
        "", description="bearer token for the OPA server: env:NAME or file:PATH, never the value itself (engine: opa)"
    )
    ca: Path | None = Field(
        None, description="PEM bundle to verify the OPA server with, instead of the system's (engine: opa)"
    )
    deadline_ms: float = Field(
        250.0, gt=0, le=60_000, description="longest time that one decision may take; then it is a denial (engine: opa)"
    )
    connections: int = Field(
        32, ge=1, le=1_024, description="most requests of a worker at once to the OPA server; more wait (engine: opa)"
    )
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

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.engine == "embedded":
            # Other than the default, not named: the supervisor hands its processes every setting by name.
            idle = [name for name in _OF_OPA if getattr(self, name) != type(self).model_fields[name].default]
            if idle:
                raise ValueError(f"{', '.join(sorted(idle))} belong to engine: opa, and the engine is embedded")
            return self
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not re.fullmatch(r"[!-~]+", self.url):
            raise ValueError("engine: opa needs the server's url, such as http://127.0.0.1:8181")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("url must not carry a user, a query or a fragment; the token goes into credential")
        if self.credential and not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+", self.credential):
            raise ValueError("credential must be env:NAME or file:PATH, never the token itself")
        return self
