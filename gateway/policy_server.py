"""The OPA server as one more upstream: the same pool, with its strict parsing, TLS and kept-alive connections.

It speaks to no other address than the configured one, follows nothing, and reads no more than it was asked to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.answer_stream import AnswerStream
from gateway.credentials import read_secret
from gateway.errors import UpstreamError
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
        self._pool = pool
        secret = read_secret("the OPA server", settings.credential) if settings.credential else b""
        self._own: Headers = ((b"authorization", b"Bearer " + secret),) if secret else ()

    async def send(self, method: str, target: bytes, body: bytes, limit: int, headers: Headers = ()) -> Answer:
        """One request; the connection is dropped where the caller gives up or the answer is too long."""
        stream = AnswerStream()
        try:
            stream.upstream = self._pool.request(self.endpoint, method, target, (*self._own, *headers), body, stream)
            status, fields = await stream.head()
            if any(name == b"content-encoding" and value.lower() != b"identity" for name, value in fields):
                raise ServerError("nonsense", "the OPA server's answer is compressed, which was not asked for")
            content = await stream.read_all(limit)
            if content is None:
                raise ServerError("too_large", f"the OPA server's answer is longer than {limit} bytes")
            return Answer(status, content)
        except UpstreamError as error:
            detail = error.detail.replace("endpoint opa", "the OPA server")
            raise ServerError(_FAULTS[error.kind], detail) from None
        finally:
            stream.abandon()
