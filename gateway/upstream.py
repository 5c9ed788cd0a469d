"""Calls to upstreams: kept-alive connections, and where none is left a fresh one.

The upstream's address comes from the configuration alone; nothing of a request or an answer can change it, and
redirects are handed back as they come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from gateway.answers import AnswerReader
from gateway.dialling import client_context, dial
from gateway.errors import UpstreamError
from gateway.fields import Field, write_fields
from gateway.outbox import Outbox
from gateway.settings import Endpoint, Limits
from gateway.sweep import Sweep
from gateway.upstream_connection import UpstreamConnection

_REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_KEY = b"\r\nidempotency-key: "
_JOINED_BODY = 65_536


class AnswerSink(Protocol):
    """Takes one answer: one head, any number of data, then either the end or an error. Never called by `request`."""

    def on_answer_head(self, status: int, headers: Sequence[Field]) -> None:
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


class _Spent:
    """The sink of a call that is over."""

    def on_answer_head(self, status: int, headers: Sequence[Field]) -> None:
        """Nobody listens."""

    def on_answer_data(self, data: bytes) -> None:
        """Nobody listens."""

    def on_answer_end(self) -> None:
        """Nobody listens."""

    def on_answer_error(self, error: UpstreamError) -> None:
        """Nobody listens."""


_SPENT = _Spent()


class UpstreamCall:
    """One request on its way. `length` is the answer's Content-Length once its head is there (None: not given).

    `request` is the head as it is sent and, unless that is large, the body; else the body is in `body`.
    """

    __slots__ = (
        "_pool", "_task", "body", "connection", "length", "method", "over", "paused", "peer", "request", "sink",
    )  # fmt: skip

    def __init__(
        self,
        pool: UpstreamPool,
        peer: Peer,
        method: str,
        request: bytes,
        body: bytes,
        sink: AnswerSink,
    ) -> None:
        self._pool = pool
        self._task: asyncio.Task[None] | None = None
        self.peer = peer
        self.request = request
        self.body = body
        self.sink = sink
        self.method = method
        self.connection: UpstreamConnection | None = None
        self.length: int | None = None
        self.paused = False
        self.over = False

    @property
    def repeatable(self) -> bool:
        """Whether sending the request twice does no more than sending it once (RFC 9110 §9.2.2)."""
        return self.method in _REPEATABLE or _KEY in self.request.partition(b"\r\n\r\n")[0]

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
        connection = self.connection
        self.finish()
        if self._task is not None:
            self._task.cancel()
        if connection is not None:
            connection.drop()

    def finish(self) -> AnswerSink:
        """Let go of everything, so that nothing waits for the garbage collector; the sink for its last call."""
        sink, self.sink = self.sink, _SPENT
        self.over = True
        self.connection = None
        self.request = self.body = b""
        return sink

    def fail(self, error: UpstreamError) -> None:
        """Tell the sink that there is no answer, or no complete one."""
        if not self.over:
            self.finish().on_answer_error(error)

    def dial(self) -> None:
        """Send over a fresh connection."""
        self.connection = None
        self._task = self._pool.start(self._dial())

    async def _dial(self) -> None:
        try:
            connection = await self._pool.connect(self.peer)
        except UpstreamError as error:
            self.fail(error)
            return
        except Exception as error:
            # Whatever it is, the call must not wait for an answer that never comes.
            what = type(error).__name__
            self.fail(UpstreamError("connect", f"endpoint {self.peer.name} cannot be reached: {what}", sent=False))
            return
        finally:
            self._task = None
        if not connection.send(self):
            detail = f"endpoint {self.peer.name} closed the connection as soon as it was open"
            self.fail(UpstreamError("reset", detail, sent=False))


class Peer:
    """One upstream address with its idle connections, the one used last on top."""

    __slots__ = ("base", "context", "fixed", "host", "idle", "name", "port")

    def __init__(self, endpoint: Endpoint) -> None:
        url = urlsplit(endpoint.url)
        self.name = endpoint.id
        self.host = url.hostname or ""
        secure = url.scheme == "https"
        self.port = url.port or (443 if secure else 80)
        shown = f"[{self.host}]" if ":" in self.host else self.host
        default = url.port is None or url.port == (443 if secure else 80)
        authority = shown if default else f"{shown}:{url.port}"
        self.fixed = f" HTTP/1.1\r\nhost: {authority}\r\naccept-encoding: identity\r\n".encode()
        self.base = url.path.rstrip("/").encode()
        self.context = client_context(endpoint) if secure else None
        self.idle: list[UpstreamConnection] = []


class UpstreamPool:
    """All upstream connections of a worker."""

    def __init__(self, limits: Limits, sweep: Sweep) -> None:
        self.limits = limits
        self.sweep = sweep
        self.first_byte_time = limits.first_byte_time + sweep.interval
        self.answer_idle_time = limits.answer_idle_time + sweep.interval
        self.idle_time = limits.upstream_idle_time + sweep.interval
        self.loop = asyncio.get_running_loop()
        self.outbox = Outbox(self.loop)
        self._peers: dict[tuple[str, object], Peer] = {}
        # By the identity of the endpoint's settings, which hashing would take longer than the rest of the look-up; the
        # settings are kept with the peer, so that no other object can come by that identity.
        self._known: dict[int, tuple[Endpoint, Peer]] = {}
        self._idle = 0
        self._connections: set[UpstreamConnection] = set()
        self._dialling: set[asyncio.Task[None]] = set()

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

        `headers` are end-to-end fields with lower-case names; host, framing and accept-encoding are set here, so they
        must not be among them (a request's head has none of them). ValueError for a line end in a header, GatewayError
        for a CA file that cannot be read. A kept-alive connection that turns out closed is replaced once, when the
        request is safe to repeat (an idempotent method, or an idempotency key) and nothing of an answer came.
        """
        known = self._known.get(id(endpoint))
        peer = known[1] if known is not None else self._peer(endpoint)
        if b" " in target or b"\n" in target:
            raise ValueError("a request target to be sent has a blank or a line end in it")
        length = b"content-length: %d\r\n\r\n" % len(body) if body or method in _WITH_BODY else b"\r\n"
        joined = body if len(body) <= _JOINED_BODY else b""
        head = b"".join((method.encode(), b" ", peer.base, target, peer.fixed, write_fields(headers), length, joined))
        call = UpstreamCall(self, peer, method, head, b"" if joined else body, sink)
        while peer.idle:
            connection = peer.idle.pop()
            self._idle -= 1
            if connection.send(call):
                return call
        call.dial()
        return call

    def retain(self, endpoints: Sequence[Endpoint]) -> None:
        """After a change of configuration: close idle connections to what is configured no more."""
        self._known.clear()
        wanted = {(endpoint.url, endpoint.ca) for endpoint in endpoints}
        for key in [key for key in self._peers if key not in wanted]:
            for connection in list(self._peers.pop(key).idle):
                connection.drop()

    async def close(self) -> None:
        """Close every connection; calls under way hear nothing more."""
        for task in list(self._dialling):
            task.cancel()
        for connection in list(self._connections):
            connection.drop()

    def start(self, dialling: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run a coroutine that opens a connection; the loop alone would not keep it alive."""
        task = self.loop.create_task(dialling)
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return task

    def _peer(self, endpoint: Endpoint) -> Peer:
        """The peer of an endpoint; a reloaded configuration's equal endpoint shares it."""
        key = (endpoint.url, endpoint.ca)
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = Peer(endpoint)
        self._known[id(endpoint)] = (endpoint, peer)
        return peer

    async def connect(self, peer: Peer) -> UpstreamConnection:
        """A fresh connection. Raises UpstreamError (nothing sent)."""
        connection = UpstreamConnection(self, peer)
        try:
            await dial(peer.name, peer.host, peer.port, peer.context, self.limits.connect_time, lambda: connection)
        except BaseException:
            connection.drop()
            raise
        self._connections.add(connection)
        self.sweep.watch(connection)
        return connection

    def keep(self, connection: UpstreamConnection, answer: AnswerReader) -> bool:
        """Take back a connection after its answer; False when there are enough or the upstream will not wait long."""
        seconds = self.idle_time
        if answer.head is not None and answer.head.idle_hint is not None:
            seconds = min(seconds, answer.head.idle_hint - 1)
        if seconds <= 0 or self._idle >= self.limits.upstream_idle:
            return False
        connection.deadline = self.sweep.now + seconds
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
