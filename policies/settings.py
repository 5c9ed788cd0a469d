"""What an operator configures of policy."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from lineage.settings import Settings

RULE_PATH = r"^data(\.[a-zA-Z_][a-zA-Z0-9_]*)+$"
LARGEST_CACHE = 1 << 30
_OF_OPA = ("url", "push", "credential", "ca", "deadline_ms", "connections")
_CREDENTIAL = r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+"

BundlePlace = Annotated[
    Annotated[str, StringConstraints(pattern=r"^https?://")] | Path, Field(union_mode="left_to_right")
]
"""Where a bundle lies: the URL of a server's, or the path of a folder or an archive."""


class Download(Settings):
    """How a bundle is fetched from a server (OPA's bundle protocol)."""

    credential: str = Field(
        "", description="bearer token for the bundle server: env:NAME or file:PATH, never the value itself"
    )
    ca: Path | None = Field(None, description="PEM bundle to verify the bundle server with, instead of the system's")
    poll_seconds: float = Field(
        30.0, ge=1, le=86_400, description="pause between two looks at a server that does not hold requests open"
    )
    wait_seconds: int = Field(
        30, ge=0, le=600, description="how long the server may hold a request open until there is news; 0: not at all"
    )
    timeout_seconds: float = Field(
        30.0, gt=0, le=600, description="longest time that a whole download may take, the wait not counted"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.credential and not re.fullmatch(_CREDENTIAL, self.credential):
            raise ValueError("credential must be env:NAME or file:PATH, never the token itself")
        return self


class Verification(Settings):
    """By what a bundle's signature is verified; one that is not signed, or was changed since, is refused."""

    key: Path = Field(description="PEM file with the public key: RSA (RS256), EC on P-256 (ES256) or Ed25519 (EdDSA)")
    key_id: str = Field("", max_length=256, description="key id that the signature must name; empty: any or none")
    scope: str = Field("", max_length=256, description="scope that the signature must have; empty: none")


class Policy(Settings):
    """The bundle that decides and the engine that evaluates it."""

    bundle: BundlePlace = Field(
        Path("policies/bundles/starter"),
        description="folder of .rego files and data.json or data.yaml, a .tar.gz of one, or the URL of one on a server",
    )
    download: Download = Field(Download(), description="how a bundle that is a URL is fetched")
    verification: Verification | None = Field(
        None, description="the signature that a bundle must have; without it, none is asked for"
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
    changes: Literal["apply", "rollout"] = Field(
        "apply",
        description="what a change of `bundle` does while a roll-out is live; apply: it takes the roll-out's place; "
        "rollout: nothing, changes come as roll-outs alone",
    )
    reload_seconds: float = Field(1.0, gt=0, description="how often the bundle is looked at for changes")
    admission_seconds: float = Field(20.0, gt=0, description="longest time that admission of a bundle may take")
    decision_ms: float = Field(50.0, gt=0, description="largest measured cost of one decision; a dearer one is refused")

    cache_bytes: int = Field(
        8_388_608,
        ge=0,
        le=LARGEST_CACHE,
        description="memory for remembered decisions in each worker, in bytes; 0: each is evaluated (engine: embedded)",
    )

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if isinstance(self.bundle, str):
            parts = urlsplit(self.bundle)
            named = parts.path.strip("/") and not parts.path.endswith("/")
            if not parts.hostname or not named or parts.port == 0 or not re.fullmatch(r"[!-~]+", self.bundle):
                raise ValueError("bundle must be a URL with the path of an archive, such as https://host/bundle.tar.gz")
            if parts.query or parts.fragment or parts.username or parts.password:
                raise ValueError("bundle must not carry a user, a query or a fragment; see download.credential")
            if parts.scheme == "http" and not _loopback(parts.hostname):
                if self.verification is None:
                    raise ValueError("a bundle over http:// could be anyone's: use https://, or set verification")
                if self.download.credential:
                    raise ValueError("download.credential would be readable on the way: use https://")
        if self.verification is not None and not self.push:
            raise ValueError("verification is for a bundle that Cordon reads; with push: false the OPA server verifies")
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.engine == "embedded":
            # Other than the default, not named: the supervisor hands its processes every setting by name.
            idle = [name for name in _OF_OPA if getattr(self, name) != type(self).model_fields[name].default]
            if idle:
                raise ValueError(f"{', '.join(sorted(idle))} belong to engine: opa, and the engine is embedded")
            return self
        if self.cache_bytes != type(self).model_fields["cache_bytes"].default:
            raise ValueError("cache_bytes belongs to engine: embedded, and an OPA server decides each time")
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not re.fullmatch(r"[!-~]+", self.url):
            raise ValueError("engine: opa needs the server's url, such as http://127.0.0.1:8181")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("url must not carry a user, a query or a fragment; the token goes into credential")
        if self.credential and not re.fullmatch(_CREDENTIAL, self.credential):
            raise ValueError("credential must be env:NAME or file:PATH, never the token itself")
        return self


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
