"""The OPA server as a service that the policy engine asks, and how others ask it a single question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from gateway.credentials import CredentialError
from gateway.errors import UpstreamError
from gateway.service import Service, TooLong
from gateway.settings import Endpoint, Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamPool
from lineage.chance import sixteen
from policies.opa.wire import MAX_ANSWER, Answer, Decided, Fault, Headers, ServerError
from policies.settings import Policy

SECONDS: Final = 5.0
"""Longest time that one answer to `Asker` may take."""
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


class Asker:
    """Asks the server from a thread without an event loop: it has one of its own, which runs for each question."""

    def __init__(self, settings: Policy) -> None:
        self._settings = settings
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._sweep: Sweep | None = None
        self._pool: UpstreamPool | None = None
        self._server: PolicyServer | None = None

    def ask(self, target: bytes, body: bytes, read: Callable[[Answer], Decided]) -> Decided:
        """One answer; ServerError where there is none."""
        return self._runner.run(self._ask(target, body, read))

    def close(self) -> None:
        """Close the connections and the loop, in the thread that used them."""
        if self._pool is not None:
            self._runner.run(self._close())
        self._runner.close()

    async def _ask(self, target: bytes, body: bytes, read: Callable[[Answer], Decided]) -> Decided:
        # The sweep's clock stood still with the loop: it looks first, or deadlines would be counted from then on.
        await asyncio.sleep(0)
        once = (b"idempotency-key", sixteen().hex().encode())
        try:
            server = self._connected()
            async with asyncio.timeout(SECONDS):
                content = (b"content-type", b"application/json")
                return read(await server.send("POST", target, body, MAX_ANSWER, (content, once)))
        except TimeoutError:
            raise ServerError("timeout", f"the OPA server did not answer within {SECONDS:g} s") from None
        except CredentialError as error:
            self._server = None
            raise ServerError("unauthorized", str(error)) from None
        except ServerError:
            self._server = None  # the credential may have been renewed since it was read
            raise

    def _connected(self) -> PolicyServer:
        if self._sweep is None or self._pool is None:
            self._sweep = Sweep()
            self._pool = UpstreamPool(Limits(), self._sweep)
        if self._server is None:
            self._server = PolicyServer(self._settings, self._pool)
        return self._server

    async def _close(self) -> None:
        if self._pool is not None and self._sweep is not None:
            await self._pool.close()
            self._sweep.close()
