"""What an operator configures of one destination of decision logs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from gateway.settings import Endpoint
from lineage.settings import Settings
from siem.settings import LOOPBACK

MOST_DESTINATIONS = 8
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}=[^\x00-\x1f\x7f]{0,256}")
_OF_URL = ("resource", "credential", "ca", "unsafe_plain_http")


class DecisionLog(Settings):
    """One destination of decision logs: a collector that takes what OPA sends (`url`), or a file (`file`)."""

    id: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="name in metrics and records; the place up to which events were delivered is kept under it",
    )
    url: str = Field("", description="base URL of the collector, such as https://collector.example; or else `file`")
    resource: str = Field("/logs", pattern=r"^/[!-~]*$", description="path that events are posted to, below `url`")
    credential: str = Field(
        "", description="bearer token for the collector: env:NAME or file:PATH, never the value itself"
    )
    ca: Path | None = Field(None, description="PEM bundle to verify the collector with, instead of the system's")
    unsafe_plain_http: bool = Field(
        False, description="post to a collector beyond loopback without TLS: events cross the network readable"
    )
    file: Path | None = Field(None, description="file that events are written to, one JSON object a line")
    max_file_mb: int = Field(100, ge=1, le=100_000, description="size in MiB at which a file is put aside as FILE.1")
    keep_files: int = Field(5, ge=1, le=1_000, description="files put aside that are kept; the oldest is deleted")
    labels: tuple[str, ...] = Field(
        (), max_length=32, description="further labels of each event, as NAME=VALUE, beside app, id and version"
    )
    begin: Literal["beginning", "now"] = Field(
        "beginning", description="where a destination begins that is new: at the log's first record, or at its end"
    )
    upload_size_limit_bytes: int = Field(
        32_768, ge=1_024, le=16_777_216, description="largest request to the collector in bytes, compressed"
    )
    timeout_seconds: float = Field(30.0, gt=0, le=600, description="longest time that one request may take")
    min_delay_seconds: float = Field(
        1.0, ge=0.01, le=3_600, description="pause before the log is looked at again, and after a first failure"
    )
    max_delay_seconds: float = Field(
        60.0, ge=0.01, le=86_400, description="longest pause while the destination fails; it doubles up to that"
    )

    @property
    def endpoint(self) -> Endpoint:
        """The collector as the upstream that it is to a pool of connections."""
        return Endpoint(id=self.id, url=self.url, credential=self.credential, ca=self.ca)

    @property
    def own_labels(self) -> dict[str, str]:
        """The configured labels by name."""
        return dict(label.split("=", 1) for label in self.labels)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.url) == (self.file is not None):
            raise ValueError("either url or file is needed: a destination is a collector or a file")
        if self.min_delay_seconds > self.max_delay_seconds:
            raise ValueError("min_delay_seconds is more than max_delay_seconds")
        for label in self.labels:
            if not _LABEL.fullmatch(label):
                raise ValueError("labels are NAME=VALUE, such as environment=production")
        if self.url:
            self._check_url()
        else:
            # Other than the default, not named: the supervisor hands its processes every setting by name.
            idle = [name for name in _OF_URL if getattr(self, name) != type(self).model_fields[name].default]
            if idle:
                raise ValueError(f"{', '.join(idle)} belong to url, and this destination is a file")
        return self

    def _check_url(self) -> None:
        if "?" in self.resource or "#" in self.resource:
            raise ValueError("resource is a path, without a query or a fragment")
        host = urlsplit(self.endpoint.url).hostname
        if self.url.startswith("http:") and host not in LOOPBACK and not self.unsafe_plain_http:
            raise ValueError(
                "url is plain http beyond loopback: use https, or unsafe_plain_http: true to accept that events "
                "cross the network readable"
            )
