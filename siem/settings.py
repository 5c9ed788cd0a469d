"""What an operator configures of the control plane: the console, the admin API and the log's read API."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from gateway.settings import ListenAddress, Tls
from lineage.settings import Settings

HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Control(Settings):
    """The control server's own section."""

    listen: ListenAddress = Field("127.0.0.1:8081", description="host:port of the console and the APIs")
    tls: Tls | None = Field(None, description="certificate of the console; required unless it listens on loopback")
    public_url: str = Field(
        "",
        description="the console's address where a proxy that ends TLS stands in front, such as "
        "https://cordon.example; refused callers are told of it, for its page on the refusal's code "
        "(/errors/CODE), which needs no sign-in",
    )
    allowed_hosts: tuple[HostName, ...] = Field(
        (), description="further host names that requests may name; those of listen and public_url always may"
    )
    unsafe_plain_http: bool = Field(
        False, description="listen beyond loopback without TLS: passwords and sessions cross the network readable"
    )
    unsafe_open_metrics: bool = Field(
        False, description="serve /metrics to anybody, instead of to reader tokens and accounts"
    )
    session_hours: float = Field(12.0, gt=0, le=168, description="longest time that one sign-in lasts")
    idle_minutes: float = Field(60.0, gt=0, le=1_440, description="a session unused for this long ends")
    invitation_hours: float = Field(24.0, gt=0, le=168, description="how long a one-time link can be used")
    body_limit: int = Field(65_536, ge=1_024, le=1_048_576, description="largest request body in bytes")
    archive_limit: int = Field(
        1_048_576, ge=1_024, le=16_777_216, description="largest archive in bytes of a policy bundle that is proposed"
    )
    connections: int = Field(256, ge=8, le=10_000, description="client connections at once")
    request_seconds: float = Field(10.0, gt=0, le=120, description="until a request has come in whole")
    scan: int = Field(
        20_000, ge=100, le=1_000_000, description="records looked through for one page of a filtered list"
    )

    @property
    def host(self) -> str:
        """Address that the server binds, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Port that the server binds; 0: any free one."""
        return int(self.listen.rpartition(":")[2])

    @property
    def secure(self) -> bool:
        """Whether browsers reach the console by TLS, here or at a proxy in front."""
        return self.tls is not None or self.public_url.startswith("https://")

    @property
    def host_names(self) -> frozenset[str]:
        """The host names, in lower case and without port, that a request may name."""
        names = {self.host.lower(), *(name.lower() for name in self.allowed_hosts)}
        if self.host in LOOPBACK:
            names.update(LOOPBACK)
        if self.public_url:
            names.add((urlsplit(self.public_url).hostname or "").lower())
        return frozenset(names)

    @model_validator(mode="after")
    def _check(self) -> Self:
        public = urlsplit(self.public_url)
        if self.public_url and (
            public.scheme not in {"http", "https"} or not public.hostname or public.path not in {"", "/"}
        ):
            raise ValueError("public_url must be an origin such as https://cordon.example, without a path")
        if self.host not in LOOPBACK and not self.secure and not self.unsafe_plain_http:
            raise ValueError(
                f"listen {self.listen} is reachable from outside: set tls, or public_url if a proxy ends TLS, "
                "or unsafe_plain_http: true to accept that passwords cross the network readable"
            )
        if self.host in {"0.0.0.0", "::"} and not (self.allowed_hosts or self.public_url):  # noqa: S104
            raise ValueError("allowed_hosts is needed: name the hosts by which this server is reached")
        return self
