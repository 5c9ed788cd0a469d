"""Calls to upstreams: kept-alive connections, and where none is left a fresh one.

The upstream's address comes from the configuration alone; nothing of a request or an answer can change it, and
redirects are handed back as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from gateway.dialling import client_context, dial
from gateway.errors import UpstreamError
from gateway.fields import Field, write_fields
from gateway.settings import Endpoint, Limits
from gateway.sweep import Sweep
from gateway.upstream_connection import UpstreamConnection

_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
_JOINED_BODY = 65_536


class AnswerSink(Protocol):
    """Takes one answer: one head, any number of data, then either the end or an error. Never called by `request`."""

    def on_answer_head(self, status: int, headers: list[Field]) -> None:
        """Final status and end-to-end headers, names in lower case."""
        ...

    def on_answer_data(self, data: bytes) -> None:
        """The next content bytes, in the cut in which they came."""
        ...

    def on_answer_end(self) -> None:
        """The answer is complete."""
        ...

    def on_answer_error(self, error: UpstreamError) -> None:
        """There is no answer, or what came of it is not complete."""
        ...


class UpstreamCall:
    """One request on its way. `length` is the answer's Content-Length once its head is there (None: not given)."""

    __slots__ = (
        "_pool",
        "_task",
        "connection",
        "for_head",
        "length",
        "over",
        "paused",
        "peer",
        "repeatable",
        "request",
        "sink",
    )

    def __init__(
        self,
        pool: UpstreamPool,
        peer: Peer,
        request: tuple[bytes, ...],
        sink: AnswerSink,
        *,
        for_head: bool,
        repeatable: bool,
    ) -> None:
        self._pool = pool
        self._task: asyncio.Task[None] | None = None
        self.peer = peer
        self.request = request
        self.sink = sink
        self.for_head = for_head
        self.repeatable = repeatable
        self.connection: UpstreamConnection | None = None
        self.length: int | None = None
        self.paused = False
        self.over = False

    def pause(self) -> None:
        """Read no more of the answer for now."""
        self.paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """Read on."""
        self.paused = False
        if self.connection is not None:
            self.connection.resume()

    def abort(self) -> None:
        """Give up: the connection is closed and the sink hears nothing more. Harmless when the call is over."""
        if self.over:
            return
        self.over = True
        if self._task is not None:
            self._task.cancel()
        if self.connection is not None:
            self.connection.drop()

    def fail(self, error: UpstreamError) -> None:
        """Tell the sink that there is no answer, or no complete one."""
        if not self.over:
            self.over = True
            self.sink.on_answer_error(error)

    def dial(self) -> None:
        """Send over a fresh connection."""
        self.connection = None
        self._task = self._pool.loop.create_task(self._dial())

    async def _dial(self) -> None:
        try:
            connection = await self._pool.connect(self.peer)
        except UpstreamError as error:
            self.fail(error)
            return
        finally:
            self._task = None
        connection.send(self)


class Peer:
    """One upstream address with its idle connections, the one used last on top."""

    __slots__ = ("base", "context", "host", "host_header", "idle", "name", "port")

    def __init__(self, endpoint: Endpoint) -> None:
        url = urlsplit(endpoint.url)
        self.name = endpoint.id
        self.host = url.hostname or ""
        secure = url.scheme == "https"
        self.port = url.port or (443 if secure else 80)
        shown = f"[{self.host}]" if ":" in self.host else self.host
        default = url.port is None or url.port == (443 if secure else 80)
        self.host_header = (shown if default else f"{shown}:{url.port}").encode()
        self.base = url.path.rstrip("/").encode()
        self.context = client_context(endpoint) if secure else None
        self.idle: list[UpstreamConnection] = []


class UpstreamPool:
    """All upstream connections of a worker."""

    def __init__(self, limits: Limits, sweep: Sweep) -> None:
        self.limits = limits
        self.sweep = sweep
        self.loop = asyncio.get_running_loop()
        self._peers: dict[tuple[str, object], Peer] = {}
        self._idle = 0
        self._connections: set[UpstreamConnection] = set()

    @property
    def connections(self) -> int:
        """Upstream connections that are open now."""
        return len(self._connections)

    @property
    def idle(self) -> int:
        """Those of them that wait for a call."""
        return self._idle

    def request(
        self, endpoint: Endpoint, method: str, target: bytes, headers: Sequence[Field], body: bytes, sink: AnswerSink
    ) -> UpstreamCall:
        """Send a request; `target` (path and query) is appended to the endpoint's base URL.

        `headers` are end-to-end fields with lower-case names; host, framing and accept-encoding are set here. A
        kept-alive connection that turns out closed is replaced once, when the request is safe to repeat (an idempotent
        method, or an idempotency key) and nothing of an answer came.
        """
        peer = self._peer(endpoint)
        fields: list[Field] = [(b"host", peer.host_header)]
        repeatable = method in _REPEATABLE
        for field in headers:
            name = field[0]
            if name == b"accept-encoding":
                continue
            if name == b"idempotency-key":
                repeatable = True
            fields.append(field)
        fields.append((b"accept-encoding", b"identity"))
        if body or method in {"POST", "PUT", "PATCH"}:
            fields.append((b"content-length", b"%d" % len(body)))
        head = b"%b %b%b HTTP/1.1\r\n%b\r\n" % (method.encode("ascii"), peer.base, target, write_fields(fields))
        request = (head + body,) if len(body) <= _JOINED_BODY else (head, body)
        call = UpstreamCall(self, peer, request, sink, for_head=method == "HEAD", repeatable=repeatable)
        if peer.idle:
            connection = peer.idle.pop()
            self._idle -= 1
            connection.send(call)
        else:
            call.dial()
        return call

    def retain(self, endpoints: Sequence[Endpoint]) -> None:
        """Close idle connections to what is configured no more."""
        wanted = {(endpoint.url, endpoint.ca) for endpoint in endpoints}
        for key in [key for key in self._peers if key not in wanted]:
            for connection in list(self._peers.pop(key).idle):
                connection.drop()

    async def close(self) -> None:
        """Close every connection."""
        for connection in list(self._connections):
            connection.drop()

    def _peer(self, endpoint: Endpoint) -> Peer:
        key = (endpoint.url, endpoint.ca)
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = Peer(endpoint)
        return peer

    async def connect(self, peer: Peer) -> UpstreamConnection:
        """A fresh connection. Raises UpstreamError (nothing sent)."""
        connection = UpstreamConnection(self, peer)
        await dial(peer.name, peer.host, peer.port, peer.context, self.limits.connect_time, lambda: connection)
        self._connections.add(connection)
        self.sweep.watch(connection)
        return connection

    def keep(self, connection: UpstreamConnection) -> bool:
        """Take back a connection whose call is over; False when there are enough."""
        if self._idle >= self.limits.upstream_idle:
            return False
        connection.peer.idle.append(connection)
        self._idle += 1
        return True

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is closed."""
        self.sweep.forget(connection)
        self._connections.discard(connection)
        if connection in connection.peer.idle:
            connection.peer.idle.remove(connection)
            self._idle -= 1
