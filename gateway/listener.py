"""Accepts clients: binds the address, counts connections, and lets them finish when the worker stops."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

from gateway.budget import Budget
from gateway.connection import Connection
from gateway.errors import GatewayError
from gateway.exchange import Exchange, Handler
from gateway.handshakes import telling
from gateway.outbox import Outbox
from gateway.peer import Peer
from gateway.settings import Limits
from gateway.sweep import NEVER, Sweep
from gateway.tls import Security, verified_chain

__all__ = ["Exchange", "Handler", "Listener"]

_BACKLOG = 1_024
_LINGER_TIME = 2.0


class Listener:
    """One worker's listening socket and its connections.

    `pages` is where refused clients find a page on each code.
    For counting, `on_malformed(client, code)` is told of every request that is refused before it becomes a call,
    `on_certificate(what)` of every connection where client certificates are taken, and `on_failed_handshake(reason)` of
    every one that never came to be.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        sweep: Sweep,
        budget: Budget,
        *,
        security: Security | None = None,
        pages: str = "",
        on_malformed: Callable[[str, str], None] | None = None,
        on_certificate: Callable[[str], None] | None = None,
        on_failed_handshake: Callable[[str], None] | None = None,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.sweep = sweep
        self.budget = budget
        self.loop = asyncio.get_running_loop()
        self.outbox = Outbox(self.loop)
        seconds = (limits.idle_time, limits.head_time, limits.body_time, limits.total_time, _LINGER_TIME, NEVER)
        self.times = tuple(time + sweep.interval for time in seconds)
        self.security = security
        self.pages = pages
        self._on_malformed = on_malformed
        self._on_certificate = on_certificate
        self._connection_class = telling(on_failed_handshake) if on_failed_handshake is not None else ssl.SSLObject
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._draining = False
        self._emptied = asyncio.Event()

    @property
    def connections(self) -> int:
        """Client connections that are open now."""
        return len(self._connections)

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Listen, and return the port (of use when 0 was asked for). With `reuse_port` several workers share it."""
        security = self.security
        try:
            server = await self._listen(host=host, port=port, reuse_port=reuse_port)
        except OSError as error:
            raise GatewayError(f"cannot listen on {host}:{port}: {error.strerror}; is the port taken?") from error
        self._servers = [server]
        if self.security is not None and self.security is not security:
            await self.serve_with(self.security)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    def secure(self, security: Security) -> list[Connection]:
        """Judge the clients of open connections by these settings from now on; those that it ends, which are drained.

        `serve_with` then has new connections use them. Calls under way are the handler's to end.
        """
        self.security = security
        if security.clients is not None:
            for connection in self._connections:
                if connection.peer is None:  # was asked for no certificate: the same as having shown none
                    connection.introduce(Peer())
        return self._drained(lambda connection: not _stands(connection.peer, security))

    async def serve_with(self, security: Security) -> None:
        """Accept with these certificates: on the same sockets, so that no client is turned away in between."""
        before, now = self._servers, list[asyncio.Server]()
        try:
            for server in before:
                for each in server.sockets:
                    now.append(await self._listen(sock=socket.socket(fileno=os.dup(each.fileno()))))
        except OSError as error:
            _close(now)
            raise GatewayError(f"cannot accept with the changed certificates: {error.strerror}") from error
        if self._draining or self.security is not security:
            _close(now)
            return
        self._servers = now
        _close(before)

    def lapsed(self, now: int) -> list[Connection]:
        """The connections whose certificate has come to its end by `now` (ms since the epoch), which are drained."""
        return self._drained(lambda connection: connection.peer is not None and connection.peer.lapses(now))

    async def drain(self, seconds: float) -> None:
        """Accept no more, let the calls under way finish for at most `seconds`, then close what is left."""
        self._draining = True
        _close(self._servers)
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
        _close(self._servers)
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            await self._emptied.wait()

    def meet(self, transport: asyncio.BaseTransport) -> Peer | None:
        """Who has connected, where client certificates are taken."""
        clients = self.security.clients if self.security is not None else None
        if clients is None:
            return None
        connection = transport.get_extra_info("ssl_object")
        peer = clients.meet(verified_chain(connection), resumed=connection.session_reused)
        if self._on_certificate is not None:
            self._on_certificate(peer.fault or ("mapped" if peer.principal else "unmapped" if peer.chain else "none"))
        return peer

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

    async def _listen(self, **where: Any) -> asyncio.Server:
        context: ssl.SSLContext | None = self.security.context if self.security is not None else None
        handshake = self.limits.head_time if context is not None else None
        if context is not None:
            context.sslobject_class = self._connection_class
        return await self.loop.create_server(
            lambda: Connection(self), ssl=context, ssl_handshake_timeout=handshake, backlog=_BACKLOG, **where
        )

    def _drained(self, ends: Callable[[Connection], bool]) -> list[Connection]:
        found = [connection for connection in self._connections if ends(connection)]
        for connection in found:
            connection.drain()
        return found


def _stands(peer: Peer | None, security: Security) -> bool:
    """Whether a connection may go on under these settings; what its peer stands for is found anew."""
    if peer is None:
        return True
    before = peer.fault
    if security.clients is not None:
        security.clients.judge(peer)
    elif peer.chain:
        peer.principal, peer.fault = None, "untrusted_certificate"
    return bool(before) or not peer.fault  # one that let no call through before goes on saying why


def _close(servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()
