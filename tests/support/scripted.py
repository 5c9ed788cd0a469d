"""An upstream on loopback that says exactly the bytes a test tells it to, and a sink that keeps what it is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.errors import UpstreamError
from gateway.fields import Field
from gateway.settings import Endpoint, Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamCall, UpstreamPool

SECONDS = 5.0
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """One connection as the upstream sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next request with its body; empty when the gateway closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
        return head + await self.reader.readexactly(int(length or b"0"))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()


Talk = Callable[[Peer], Awaitable[None]]


async def always_ok(peer: Peer) -> None:
    """Answer every request with `OK`."""
    while await peer.request():
        await peer.say(OK)


class ScriptedUpstream:
    """Runs one talk for each connection: the first talk for the first, and so on; the last one for all others."""

    def __init__(self, talks: tuple[Talk, ...]) -> None:
        self._talks = talks
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self.errors: list[BaseException] = []
        self.port = 0
        self.scheme = "http"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = self._talks[min(self.connections, len(self._talks) - 1)]
        self.connections += 1
        self.open.add(writer)
        try:
            await talk(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            self.open.discard(writer)
            writer.close()

    def endpoint(self, path: str = "", *, host: str = "127.0.0.1", ca: Path | None = None) -> Endpoint:
        return Endpoint(id="stand-in", url=f"{self.scheme}://{host}:{self.port}{path}", ca=ca)


@asynccontextmanager
async def scripted(*talks: Talk, context: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedUpstream]:
    """Such an upstream for the time of the block."""
    upstream = ScriptedUpstream(talks or (always_ok,))
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=context)
    upstream.port = server.sockets[0].getsockname()[1]
    upstream.scheme = "https" if context else "http"
    try:
        yield upstream
    finally:
        server.close()
        for writer in list(upstream.open):
            writer.transport.abort()
        while upstream.open:
            await asyncio.sleep(0)
        assert upstream.errors == []


@asynccontextmanager
async def pooled(limits: Limits | None = None, *, interval: float = 0.02) -> AsyncIterator[UpstreamPool]:
    """A pool for the time of the block; afterwards no connection of it is left."""
    sweep = Sweep(interval)
    pool = UpstreamPool(limits or Limits(), sweep)
    try:
        yield pool
    finally:
        await pool.close()
        sweep.close()
        assert (pool.connections, pool.idle, len(sweep)) == (0, 0, 0)


class Kept:
    """A sink that keeps what it is told and can be waited for."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[Field] = []
        self.received = 0
        self._pieces: list[bytes] = []
        self.ended = False
        self.error: UpstreamError | None = None
        self.events: list[str] = []
        self.call: UpstreamCall | None = None
        self._told = asyncio.Event()

    @property
    def content(self) -> bytes:
        return b"".join(self._pieces)

    def on_answer_head(self, status: int, headers: Sequence[Field]) -> None:
        self.status, self.headers = status, list(headers)
        self.tell("head")

    def on_answer_data(self, data: bytes) -> None:
        self._pieces.append(data)
        self.received += len(data)
        self.tell("data")

    def on_answer_end(self) -> None:
        self.ended = True
        self.tell("end")

    def on_answer_error(self, error: UpstreamError) -> None:
        self.error = error
        self.tell("error")

    def tell(self, event: str) -> None:
        """Keep what happened; data in a row count once."""
        if not self.events or self.events[-1] != event or event != "data":
            self.events.append(event)
        self._told.set()

    async def wait_for(self, what: Callable[[], object]) -> None:
        async with asyncio.timeout(SECONDS):
            while not what():
                self._told.clear()
                await self._told.wait()

    async def over(self) -> Kept:
        """Return when there is an end or an error."""
        await self.wait_for(lambda: self.ended or self.error)
        return self


async def ask(
    pool: UpstreamPool,
    endpoint: Endpoint,
    method: str = "GET",
    target: bytes = b"/a",
    headers: list[Field] | None = None,
    body: bytes = b"",
) -> Kept:
    """Send one request and wait until its answer is over."""
    return await begin(pool, endpoint, method, target, headers, body).over()


def begin(
    pool: UpstreamPool,
    endpoint: Endpoint,
    method: str = "GET",
    target: bytes = b"/a",
    headers: list[Field] | None = None,
    body: bytes = b"",
    *,
    sink: Kept | None = None,
) -> Kept:
    """Send one request."""
    sink = sink or Kept()
    sink.call = pool.request(endpoint, method, target, headers or [], body, sink)
    return sink


async def until(what: Callable[[], object]) -> None:
    """Return once `what` is true."""
    async with asyncio.timeout(SECONDS):
        while not what():
            await asyncio.sleep(0.005)
