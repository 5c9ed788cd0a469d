"""HTTP/1.1 for the stand-in: requests are parsed by httptools, answers go out whole or in pieces, or break off.

It trusts its clients and has few limits; never show it to a network.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import httptools

LARGEST_BODY = 64 * 1024 * 1024
MOST_KEPT = 1_000

Headers = Sequence[tuple[str, str]]


@dataclass(slots=True)
class Received:
    """One request as it came in. `headers` keep their order and have lower-case names."""

    method: str = ""
    target: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target's query, without the question mark."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str:
        """The first header of this (lower-case) name, or an empty text."""
        return next((value for known, value in self.headers if known == name), "")


class Broken(Exception):
    """The answer is to break off here: the connection is closed without the rest."""


class Answer:
    """What goes back on one request: `whole`, or `start`, `send` and `finish`."""

    def __init__(self, writer: asyncio.StreamWriter, head_only: bool) -> None:
        self._writer = writer
        self._head_only = head_only

    async def whole(self, status: int, media_type: str, body: bytes, headers: Headers = ()) -> None:
        """Answer at once."""
        self._head(status, [("content-type", media_type), ("content-length", str(len(body))), *headers])
        if not self._head_only:
            self._writer.write(body)
        await self._writer.drain()

    async def start(self, status: int, media_type: str, headers: Headers = ()) -> None:
        """Begin an answer of unknown length."""
        self._head(status, [("content-type", media_type), ("transfer-encoding", "chunked"), *headers])
        await self._writer.drain()

    async def send(self, piece: bytes) -> None:
        """One piece of it."""
        self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await self._writer.drain()

    async def finish(self) -> None:
        """The end of it."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def _head(self, status: int, headers: Headers) -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))


Handler = Callable[[Received, Answer], Awaitable[None]]


class _Requests:
    """httptools' callbacks: collects whole requests in `complete`."""

    def __init__(self) -> None:
        self.complete: deque[Received] = deque()
        self._current = Received()

    def on_message_begin(self) -> None:
        self._current = Received()

    def on_url(self, url: bytes) -> None:
        self._current.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._current.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._current.body += body
        if len(self._current.body) > LARGEST_BODY:
            raise Broken

    def on_message_complete(self) -> None:
        self.complete.append(self._current)


class Server:
    """Listens, and gives each request to `handler`; `received` are the latest requests, the oldest first."""

    def __init__(self, handler: Handler) -> None:
        self.received: deque[Received] = deque(maxlen=MOST_KEPT)
        self._handler = handler
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen on `host`; the port, chosen by the system where `port` is 0."""
        self._server = await asyncio.start_server(self._accept, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (Broken, ConnectionError, httptools.HttpParserError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = _Requests()
        parser = httptools.HttpRequestParser(requests)
        while True:
            while requests.complete:
                request = requests.complete.popleft()
                request.method = parser.get_method().decode("ascii")
                self.received.append(request)
                await self._handler(request, Answer(writer, request.method == "HEAD"))
            data = await reader.read(65_536)
            if not data:
                return
            parser.feed_data(data)
