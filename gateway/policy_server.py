"""The OPA server as a service that the policy engine asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.errors import UpstreamError
from gateway.service import Service, TooLong
from gateway.settings import Endpoint
from gateway.upstream import UpstreamPool
from policies.opa.wire import Answer, Fault, Headers, ServerError
from policies.settings import Policy

_FAULTS: Final[Mapping[str, Fault]] = {
    "connect": "connect", "tls": "tls", "timeout": "timeout", "reset": "broke_off", "protocol": "nonsense",
}  # fmt: skip


class PolicyServer:
    """Requests to the configured OPA server (`policies.opa.wire.Transport`). CredentialError for a missing token."""

    def __init__(self, settings: Policy, pool: UpstreamPool) -> None:
        self.endpoint = Endpoint(id="opa", url=settings.url, credential=settings.credential, ca=settings.ca)
        self._service = Service(self.endpoint, pool, "the OPA server")

    async def send(self, method: str, target: bytes, body: bytes, limit: int, headers: Headers = ()) -> Answer:
        """One request; the connection is dropped where the caller gives up or the answer is too long."""
        try:
            reply = await self._service.send(method, target, body, limit, headers)
        except TooLong:
            raise ServerError("too_large", f"the OPA server's answer is longer than {limit} bytes") from None
        except UpstreamError as error:
            detail = error.detail.replace("endpoint opa", "the OPA server")
            raise ServerError(_FAULTS[error.kind], detail) from None
        if any(name == b"content-encoding" and value.lower() != b"identity" for name, value in reply.headers):
            raise ServerError("nonsense", "the OPA server's answer is compressed, which was not asked for")
        return Answer(reply.status, reply.body)
