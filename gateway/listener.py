"""Accepts clients: binds the address, counts connections, and lets them finish when the worker stops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from gateway.budget import Budget
from gateway.connection import Connection
from gateway.errors import GatewayError
from gateway.exchange import Exchange, Handler
from gateway.outbox import Outbox
from gateway.settings import Limits, Tls
from gateway.sweep import NEVER, Sweep

__all__ = ["Exchange", "Handler", "Listener"]

_BACKLOG = 1_024
_LINGER_TIME = 2.0


class Listener:
    """One worker's listening socket and its connections.

    `on_malformed(client, code)` is told of every request that is refused before it becomes a call, for counting.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        sweep: Sweep,
        budget: Budget,
        *,
        tls: Tls | None = None,
        on_malformed: Callable[[str, str], None] | None = None,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.sweep = sweep
        self.budget = budget
        self.loop = asyncio.get_running_loop()
        self.outbox = Outbox(self.loop)
        seconds = (limits.idle_time, limits.head_time, limits.body_time, limits.total_time, _LINGER_TIME, NEVER)
        self.times = tuple(time + sweep.interval for time in seconds)
        self._tls = server_context(tls) if tls is not None else None
        self._on_malformed = on_malformed
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._draining = False
        self._emptied = asyncio.Event()

    @property
    def connections(self) -> int:
        """Client connections that are open now."""
        return len(self._connections)

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Listen, and return the port (of use when 0 was asked for). With `reuse_port` several workers share it."""
        try:
            self._server = await self.loop.create_server(
                lambda: Connection(self),
                host,
                port,
                ssl=self._tls,
                ssl_handshake_timeout=self.limits.head_time if self._tls is not None else None,
                backlog=_BACKLOG,
                reuse_port=reuse_port,
            )
        except OSError as error:
            raise GatewayError(f"cannot listen on {host}:{port}: {error.strerror}; is the port taken?") from error
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def drain(self, seconds: float) -> None:
        """Accept no more, let the calls under way finish for at most `seconds`, then close what is left."""
        self._draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.drain()
        if self._connections:
            try:
                await asyncio.wait_for(self._emptied.wait(), seconds)
            except TimeoutError:
                await self.close()

    async def close(self) -> None:
        """Close at once, whatever is under way."""
        self._draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            await self._emptied.wait()

    def admit(self, connection: Connection) -> bool:
        """Count a new connection in; False when there are too many."""
        if len(self._connections) >= self.limits.connections:
            return False
        self._connections.add(connection)
        self.sweep.watch(connection)
        connection.last = self._draining
        return True

    def forget(self, connection: Connection) -> None:
        """Count a connection out."""
        self.sweep.forget(connection)
        self._connections.discard(connection)
        if not self._connections and self._draining:
            self._emptied.set()

    def count_malformed(self, client: str, code: str) -> None:
        """Tell of a request that never became a call."""
        if self._on_malformed is not None:
            self._on_malformed(client, code)


def server_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer with this certificate, HTTP/1.1 only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ssl.SSLError) as error:
        raise GatewayError(f"cannot use the certificate {tls.certificate} with the key {tls.key}: {error}") from error
    return context
