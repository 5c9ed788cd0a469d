"""A listener on loopback with a handler to script, and a client that sends raw bytes."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.budget import Budget
from gateway.errors import Refusal
from gateway.listener import Exchange, Listener
from gateway.settings import GatewayTls, Limits
from gateway.sweep import Sweep
from gateway.tls import load_security

SECONDS = 5.0


class Script:
    """A handler that keeps what it was told, and answers by functions that a test may replace."""

    def __init__(self, answer: Callable[[Exchange], None] | None = None, *, body_limit: int = 1_000_000) -> None:
        self.answer = answer or echo
        self.body_limit = body_limit
        self.refusal: Refusal | None = None
        self.heads: list[Exchange] = []
        self.requests: list[Exchange] = []
        self.gone: list[Exchange] = []
        self.told = asyncio.Event()

    def on_head(self, exchange: Exchange) -> int:
        self.heads.append(exchange)
        if self.refusal is not None:
            raise self.refusal
        return self.body_limit

    def on_request(self, exchange: Exchange) -> None:
        self.requests.append(exchange)
        self.told.set()
        self.answer(exchange)

    def on_disconnect(self, exchange: Exchange) -> None:
        self.gone.append(exchange)
        self.told.set()

    async def wait_for(self, what: Callable[[], object]) -> None:
        """Return once `what` is true, looking after everything that this handler is told."""
        async with asyncio.timeout(SECONDS):
            while not what():
                self.told.clear()
                await self.told.wait()


def echo(exchange: Exchange) -> None:
    """Answer with the method, the target and the body."""
    body = b"%b %b %b" % (exchange.head.method.encode(), exchange.head.target, exchange.body)
    exchange.start(200, [(b"content-type", b"text/plain")], len(body))
    exchange.write(body)
    exchange.end()


def hold(exchange: Exchange) -> None:
    """Do not answer for now."""


class Listening:
    """A running listener; `malformed` collects the codes of what never became a call, `handshakes` why those failed."""

    def __init__(self, handler: Script, limits: Limits, tls: GatewayTls | None, interval: float) -> None:
        self.sweep = Sweep(interval)
        self.budget = Budget(limits.buffered)
        self.malformed: list[str] = []
        self.certificates: list[str] = []
        self.handshakes: list[str] = []
        self.listener = Listener(
            handler, limits, self.sweep, self.budget,
            security=None if tls is None else load_security(tls),
            on_malformed=lambda _, code: self.malformed.append(code),
            on_certificate=self.certificates.append,
            on_failed_handshake=self.handshakes.append,
        )  # fmt: skip
        self.port = 0

    async def client(self, context: ssl.SSLContext | None = None) -> Client:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=context, server_hostname="localhost" if context else None
        )
        return Client(reader, writer)

    async def ask(self, data: bytes) -> bytes:
        """Send these bytes on a connection of their own and read until the listener closes it."""
        client = await self.client()
        client.send(data)
        return await client.rest()


@asynccontextmanager
async def listening(
    handler: Script, limits: Limits | None = None, *, tls: GatewayTls | None = None, interval: float = 0.02
) -> AsyncIterator[Listening]:
    """A listener for the time of the block; afterwards nothing of it is left."""
    running = Listening(handler, limits or Limits(), tls, interval)
    running.port = await running.listener.start("127.0.0.1", 0)
    try:
        yield running
    finally:
        async with asyncio.timeout(SECONDS):
            await running.listener.close()
        running.sweep.close()
        assert running.budget.held == 0, "bytes were taken from the budget and not given back"
        assert len(running.sweep) == 0


class Client:
    """A client that sends raw bytes and reads answers by their Content-Length or chunks."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and content of the next answer."""
        head = await self.head()
        lines = head[:-4].split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        async with asyncio.timeout(SECONDS):
            if headers.get(b"transfer-encoding") == b"chunked":
                content = await self._chunks()
            else:
                content = await self.reader.readexactly(int(headers.get(b"content-length", b"0")))
        return int(lines[0].split(b" ")[1]), headers, content

    async def _chunks(self) -> bytes:
        content = b""
        while True:
            size = int(await self.reader.readline(), 16)
            content += (await self.reader.readexactly(size + 2))[:-2]
            if not size:
                return content

    async def rest(self) -> bytes:
        """Everything until the other side closes."""
        async with asyncio.timeout(SECONDS):
            data = await self.reader.read()
        self.close()
        return data

    async def closed(self) -> bool:
        """Whether the other side has closed without another byte."""
        async with asyncio.timeout(SECONDS):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def half_close(self) -> None:
        self.writer.write_eof()

    def reset(self) -> None:
        """End the connection with a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()
