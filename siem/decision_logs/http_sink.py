"""A collector that speaks OPA's decision log service API: POST of a gzip-compressed JSON array.

Source: OPA's documentation, "Decision Log Service API". Any 2xx says that all of a chunk was taken. One that is too
large for the collector (413) is halved; a single event that is too large goes without its input, then without its
result, and says so. No redirect is followed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.credentials import CredentialError
from gateway.errors import GatewayError, UpstreamError
from gateway.service import Service, TooLong
from gateway.upstream import UpstreamPool
from siem.decision_logs.chunk import Packer
from siem.decision_logs.settings import DecisionLog
from siem.decision_logs.sink import Entry, Fault, Undelivered

MAX_ANSWER: Final = 65_536
"""Longest answer that is read, in bytes; nothing in it matters."""
_HEADERS: Final = ((b"content-type", b"application/json"), (b"content-encoding", b"gzip"))
_FAULTS: Final[Mapping[str, Fault]] = {
    "connect": "connect", "tls": "tls", "timeout": "timeout", "reset": "broke_off", "protocol": "nonsense",
}  # fmt: skip


class HttpSink:
    """One collector, over the pool's kept-alive connections; it belongs to the pool's event loop."""

    def __init__(self, settings: DecisionLog, pool: UpstreamPool) -> None:
        self._settings = settings
        self._pool = pool
        self._packer = Packer(settings.upload_size_limit_bytes)
        self._most = 1 << 20
        """Most events of a chunk: fewer after the collector found one too large, twice as many after each success."""
        self._service: Service | None = None

    async def deliver(self, entries: Sequence[Entry]) -> int:
        """Post the first chunk of these entries."""
        lines = [entry.line for entry in entries]
        first = entries[0]
        while True:
            chunk = await asyncio.to_thread(self._packer.pack, lines, self._most)
            fits = len(chunk.body) <= self._packer.limit
            if fits and await self._post(chunk.body):
                self._most = min(1 << 20, 2 * self._most)
                return chunk.count
            if chunk.count > 1:
                self._most = chunk.count // 2
                continue
            lighter = first.lighter()
            if lighter is None:
                raise Undelivered("too_large", "a single event without input and result is too large for the collector")
            first, lines[0] = lighter, lighter.line

    async def _post(self, body: bytes) -> bool:
        """True where the collector took it, False where it is too large for it."""
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                status = await self._send("POST", body)
        except TimeoutError:
            detail = f"the collector did not answer within {self._settings.timeout_seconds:g} s"
            raise Undelivered("timeout", detail) from None
        if status == 413:
            return False
        if not 200 <= status < 300:
            self._service = None
            raise Undelivered(_meaning(status), f"the collector answered {status}")
        return True

    async def _send(self, method: str, body: bytes) -> int:
        target = self._settings.resource.encode()
        try:
            if self._service is None:  # also after a refusal: the credential may have been renewed since
                self._service = Service(self._settings.endpoint, self._pool)
            headers = (*_HEADERS, _key(body)) if body else ()
            return (await self._service.send(method, target, body, MAX_ANSWER, headers)).status
        except CredentialError as error:
            raise Undelivered("credential", str(error)) from None
        except UpstreamError as error:
            raise Undelivered(_FAULTS[error.kind], error.detail) from None
        except TooLong:
            raise Undelivered("nonsense", f"the collector's answer is longer than {MAX_ANSWER} bytes") from None
        except GatewayError as error:
            raise Undelivered("tls", str(error)) from None

    async def reach(self) -> int:
        """The status of a request without an event, for whoever wants to know whether the collector is there."""
        async with asyncio.timeout(self._settings.timeout_seconds):
            return await self._send("GET", b"")


def _key(body: bytes) -> tuple[bytes, bytes]:
    """Says that it does no harm to send the chunk again, as the pool does where an idle connection turns out closed."""
    return b"idempotency-key", hashlib.sha256(body).hexdigest()[:32].encode()


def _meaning(status: int) -> Fault:
    if status in (401, 403):
        return "unauthorized"
    return "refused" if status < 500 else "status"
