"""What an operator configures of the data plane: the listener, its limits, tenants, routes and endpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.client_names import configured_san, configured_subject
from lineage.settings import Settings

IDENTIFIER = r"^[a-z0-9][a-z0-9._-]{0,62}$"
# Framing, hop-by-hop and what Cordon sets itself: a secret under such a name would change what the request means.
NO_SECRET_HEADERS = frozenset(
    {
        *("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie", "expect"),
        *("host", "idempotency-key", "if-range", "keep-alive", "proxy-connection", "range", "te", "traceparent"),
        *("tracestate", "trailer", "transfer-encoding", "upgrade", "x-request-id"),
    }
)
Identifier = Annotated[str, Field(pattern=IDENTIFIER)]


def _listen_address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("is not host:port, such as 127.0.0.1:8080")
    return value


ListenAddress = Annotated[str, AfterValidator(_listen_address)]


class Tls(Settings):
    """Certificate chain and private key (PEM files) that a listener shows to its clients."""

    certificate: Path = Field(description="PEM file: the certificate, then those of the authorities in between")
    key: Path = Field(description="PEM file without a passphrase, readable by Cordon's user only")


class ClientIdentity(Settings):
    """The principal that a client certificate stands for, by one of its names, which has to be exactly this one.

    Give either `san` or `subject`.
    """

    san: str = Field(
        "",
        description="subject alternative name: a URI such as spiffe://acme/agent-7 (what begins with a scheme), an "
        "e-mail address (what has an @), else a DNS name; only a whole name of that type matches, byte by byte",
    )
    subject: str = Field(
        "", max_length=2_048, description="the whole subject as RFC 4514 writes it, such as CN=agent-7,O=Acme"
    )
    ca: Path | None = Field(
        None,
        description="PEM bundle: only certificates issued below one of these authorities of client_ca; without it, any "
        "authority of client_ca can name this principal",
    )
    tenant: Identifier = Field(description="the principal's tenant")
    name: Identifier = Field(description="the principal's name; it becomes tenant/name, as with a key of that name")
    roles: tuple[Identifier, ...] = Field((), max_length=16, description="roles for policies")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.san) == bool(self.subject):
            raise ValueError("give either san or subject")
        if self.san:
            configured_san(self.san)
        else:
            configured_subject(self.subject)
        return self


class GatewayTls(Tls):
    """The gateway's certificate, and which certificates of its clients are an identity. Changed files are taken up."""

    client_ca: Path | None = Field(
        None,
        description="PEM bundle of the authorities that issue client certificates, roots and those in between; clients "
        "are asked for a certificate, with TLS 1.3 only",
    )
    client_certificates: Literal["optional", "required"] = Field(
        "optional", description="required: a connection without a verified certificate is not taken"
    )
    crl: tuple[Path, ...] = Field(
        (),
        max_length=64,
        description="revocation lists, PEM or DER, one in a file; where there is any, each authority needs one, and "
        "one whose next update is overdue refuses its certificates",
    )
    identities: tuple[ClientIdentity, ...] = Field((), max_length=10_000)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.client_ca is None and (self.crl or self.identities or self.client_certificates == "required"):
            raise ValueError("crl, identities and client_certificates need client_ca, the authorities to verify with")
        return self


class Limits(Settings):
    """Bounds on one connection and one call. Sizes are bytes, times are seconds."""

    request_line: int = Field(8_192, ge=256, le=65_536, description="longest request line")
    header_line: int = Field(8_192, ge=256, le=65_536, description="longest single header line")
    headers: int = Field(32_768, ge=1_024, le=262_144, description="all header lines together")
    header_count: int = Field(100, ge=10, le=1_000, description="number of header lines")
    body: int = Field(
        4_194_304, ge=1_024, le=1_073_741_824, description="request body, unless the route says otherwise"
    )
    answer: int = Field(33_554_432, ge=1_024, le=1_073_741_824, description="answer that has to be buffered whole")
    decoded_ratio: int = Field(100, ge=2, le=1_000, description="largest growth when a compressed body is decoded")
    buffered: int = Field(268_435_456, ge=1_048_576, description="request and answer bytes held at once by a worker")
    connections: int = Field(10_000, ge=1, description="client connections of a worker")
    read_ahead: int = Field(
        65_536, ge=1_024, description="bytes of further requests read ahead on a connection while a call is under way"
    )
    head_time: float = Field(10.0, gt=0, description="until the request's head is complete")
    body_time: float = Field(60.0, gt=0, description="until the request's body is complete")
    idle_time: float = Field(75.0, gt=0, description="a kept-alive connection without a request")
    connect_time: float = Field(5.0, gt=0, description="until an upstream connection is open, TLS included")
    first_byte_time: float = Field(120.0, gt=0, description="until the upstream's answer begins")
    answer_idle_time: float = Field(60.0, gt=0, description="between two pieces of an answer")
    total_time: float = Field(900.0, gt=0, description="one call from its first byte to the end of its answer")
    drain_time: float = Field(20.0, ge=0, description="calls in flight are given this long when a worker stops")
    upstream_idle: int = Field(256, ge=0, description="kept-alive upstream connections of a worker")
    upstream_idle_time: float = Field(
        30.0, gt=0, description="a kept-alive upstream connection without a call; a shorter Keep-Alive hint is honoured"
    )


class Endpoint(Settings):
    """One upstream that can serve a route."""

    id: Identifier = Field(description="name in policies, records and `cordon contain`; unique among all routes")
    url: str = Field(description="base URL; the request's path after the route's prefix is appended")
    region: str = Field("", max_length=64, description="where it runs, such as eu-west-1; for policies")
    jurisdiction: str = Field("", max_length=64, description="legal area the endpoint lies in, such as EU or US")
    provider: str = Field("", max_length=64, description="who runs it; for policies")
    model: str = Field("", max_length=128, description="replaces the model that the client asked for")
    credential: str = Field("", description="the upstream's own secret: env:NAME or file:PATH, never the value itself")
    credential_header: str = Field(
        "",
        pattern=r"^([a-z0-9]+(-[a-z0-9]+)*)?$",
        max_length=64,
        description="header that carries the secret, in lower case, such as api-key for Azure; authorization has "
        "`Bearer ` put before it; empty: x-api-key for the dialect anthropic, else authorization",
    )
    ca: Path | None = Field(None, description="PEM bundle to verify this upstream with, instead of the system's")

    @model_validator(mode="after")
    def _check(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("url is not an absolute http:// or https:// URL")
        if not re.fullmatch(r"[!-~]+", self.url):
            raise ValueError("url must be plain ASCII without blanks; write an international name as xn--…")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("url must not carry a user, a query or a fragment; secrets go into credential")
        if self.credential and not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+", self.credential):
            raise ValueError("credential must be env:NAME or file:PATH, never the secret itself")
        if self.credential_header in NO_SECRET_HEADERS or self.credential_header.startswith("x-cordon-"):
            raise ValueError(
                f"credential_header {self.credential_header} has a meaning of its own; it carries no secret"
            )
        return self

    def secret_header(self, route: Route) -> str:
        """Lower-case name of the header that carries the secret to this endpoint of `route`."""
        return self.credential_header or ("x-api-key" if route.dialect == "anthropic" else "authorization")


class Route(Settings):
    """A part of the gateway's address space and the endpoints that serve it."""

    id: Identifier = Field(description="name in policies, records and metrics")
    kind: Literal["http", "model"] = Field(description="model: an API of a language model, read by its dialect")
    prefix: str = Field("", description="path prefix, such as /openai; taken off before forwarding")
    host: str = Field("", description="host name, instead of a prefix")
    dialect: Literal["openai", "anthropic", ""] = Field("", description="protocol of a model route")
    key_header: Literal["authorization", "x-cordon-key"] = Field(
        "authorization",
        description="authorization: the key is where SDKs put it (Authorization or x-api-key), and it is taken out; "
        "x-cordon-key: the client's own Authorization is passed on",
    )
    body_limit: int | None = Field(
        None, ge=0, le=1_073_741_824, description="largest request body in bytes, instead of gateway.limits.body"
    )
    risk: Literal["low", "high"] = Field(
        "low", description="what policy may ask more of; the starter bundle asks a role"
    )
    endpoints: tuple[Endpoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.prefix) == bool(self.host):
            raise ValueError(f"route {self.id}: give either prefix or host")
        if self.prefix and not re.match(r"^(/[A-Za-z0-9._~-]+)+$", self.prefix):
            raise ValueError(f"route {self.id}: prefix must look like /name, without a trailing slash")
        if (self.kind == "model") != bool(self.dialect):
            raise ValueError(
                f"route {self.id}: a model route needs a dialect (openai or anthropic), an http route has none"
            )
        return self


class Tokens(Settings):
    """The tokens that `redact: tokenise` puts in the place of values, and that answers get their values back for."""

    time: float = Field(
        86_400.0, gt=0, le=31_536_000, description="seconds from a token's last use until it is forgotten"
    )
    per_principal: int = Field(
        10_000, ge=1, le=1_000_000, description="live tokens of a caller; over it, what is forgotten first goes at once"
    )


class Tenant(Settings):
    """One customer of the gateway, isolated from the others."""

    id: Identifier = Field(description="name in keys, policies and records")
    residency: tuple[str, ...] = Field((), description="jurisdictions that this tenant's data may go to")


class Gateway(Settings):
    """The data plane's own section."""

    listen: ListenAddress = Field("127.0.0.1:8080", description="host:port; only proxied traffic arrives here")
    workers: int = Field(1, ge=1, le=256, description="processes that serve calls; one per core that may be used")
    tls: GatewayTls | None = Field(None, description="serve HTTPS instead of HTTP")
    limits: Limits = Limits()
    tokens: Tokens = Tokens()
