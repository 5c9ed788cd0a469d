"""One request and its answer, as a handler sees them; and what a handler has to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from gateway.errors import GatewayError, Refusal
from gateway.fields import Field, write_fields
from gateway.peer import Peer
from gateway.refusals import render
from gateway.request_head import RequestHead

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in HTTPStatus
    if status.value >= 200
}
_NO_BODY = -1
_BODILESS = frozenset((204, 304))
_CHUNKED = b"transfer-encoding: chunked\r\n"
_LAST = b"connection: close\r\n\r\n"


class Handler(Protocol):
    """What is done with requests. Callbacks run in the event loop and must not block."""

    def on_head(self, exchange: Exchange) -> int:
        """The head is there: return the largest body to read, in bytes, or raise Refusal."""
        ...

    def on_request(self, exchange: Exchange) -> None:
        """Head and whole body are there; answer now or later. A Refusal that is raised is answered."""
        ...

    def on_disconnect(self, exchange: Exchange) -> None:
        """The client is gone, or the call took longer than the limit; once, and only before the answer's end."""
        ...


class Outlet(Protocol):
    """The client's connection, as far as an exchange needs it."""

    writable: bool
    last: bool

    @property
    def pages(self) -> str:
        """The address below which clients find a page on each refusal code; may be empty."""
        ...

    def send(self, data: bytes) -> None:
        """Send these bytes, with others of this turn of the event loop."""
        ...

    def finish(self) -> None:
        """The answer has ended; go on with the next request."""
        ...

    def cut(self) -> None:
        """Close the connection although the answer is incomplete."""
        ...

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call once when the client has taken enough, or is gone."""
        ...


class Exchange:
    """A request with its answer: `start`, any number of `write`, then `end`; or `answer`, or `abort`, or `refuse`.

    What is written in one turn of the event loop goes out together. Once the client is gone every call on it is without
    effect. `context`, `call` (id) and `dialect` belong to the handler; the last two shape refusals. `peer` is whom the
    connection's TLS says it is with, where client certificates are taken.
    """

    __slots__ = ("_left", "_outlet", "body", "call", "client", "context", "dialect", "head", "peer", "started")

    def __init__(self, outlet: Outlet, head: RequestHead, client: str, peer: Peer | None = None) -> None:
        self.head = head
        self.peer = peer
        self.body = b""
        self.client = client
        self.context: Any = None
        self.call = ""
        self.dialect = ""
        self.started = False
        self._outlet: Outlet | None = outlet
        self._left: int | None = 0

    @property
    def over(self) -> bool:
        """The answer has ended or the client is gone."""
        return self._outlet is None

    @property
    def writable(self) -> bool:
        """False while more is waiting to be sent to the client than should be."""
        return self._outlet is None or self._outlet.writable

    @property
    def pages(self) -> str:
        """The address below which there is a page on each refusal code; may be empty."""
        return "" if self._outlet is None else self._outlet.pages

    def start(self, status: int, headers: Sequence[Field], length: int | None) -> None:
        """Begin the answer. `length` in bytes frames it, None means chunked; `headers` must not frame it themselves."""
        outlet = self._outlet
        if outlet is None:
            return
        if self.started:
            raise GatewayError("an answer was started twice; a handler may call start once")
        framing = b"" if length is None else b"content-length: %d\r\n" % length
        self._left = length
        if status in _BODILESS or self.head.method == "HEAD":
            self._left = _NO_BODY
            if status in _BODILESS:
                framing = b""
        elif length is None:
            framing = _CHUNKED
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        outlet.send(b"".join((line, write_fields(headers), framing, _LAST if outlet.last else b"\r\n")))
        self.started = True

    def write(self, data: bytes) -> None:
        """Send content. What an answer to HEAD, or a 204 or 304, must not have is left out."""
        outlet = self._outlet
        if outlet is None or not data:
            return
        if not self.started:
            raise GatewayError("content was written before the answer was started")
        left = self._left
        if left is None:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif left == _NO_BODY:
            return
        elif left < len(data):
            raise GatewayError(f"an answer has {len(data) - left} bytes more than its Content-Length")
        else:
            self._left = left - len(data)
        outlet.send(data)

    def end(self) -> None:
        """Complete the answer. One that is shorter than its length is cut instead, so that the client notices."""
        outlet = self._outlet
        if outlet is None:
            return
        left = self._left
        if not self.started or (left and left != _NO_BODY):
            self.abort()
            return
        if left is None:
            outlet.send(b"0\r\n\r\n")
        self._outlet = None
        outlet.finish()

    def answer(self, status: int, headers: Sequence[Field], body: bytes) -> None:
        """The whole answer at once."""
        outlet = self._outlet
        if outlet is None:
            return
        if self.started or status in _BODILESS or self.head.method == "HEAD":
            self.start(status, headers, len(body))
            self.write(body)
            self.end()
            return
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        last = _LAST if outlet.last else b"\r\n"
        outlet.send(b"".join((line, write_fields(headers), b"content-length: %d\r\n" % len(body), last, body)))
        self.started = True
        self._outlet = None
        outlet.finish()

    def abort(self) -> None:
        """Cut: what was written is sent, then the connection closes without the answer's proper end."""
        outlet = self._outlet
        if outlet is not None:
            self._outlet = None
            outlet.cut()

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal in the shape of the exchange's dialect; cut an answer that has begun already."""
        if self.started:
            self.abort()
            return
        headers, body = render(refusal, dialect=self.dialect, call=self.call, pages=self.pages)
        self.answer(refusal.status, headers, body)

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call once when the client takes more again, or is gone; at once when it takes more now."""
        outlet = self._outlet
        if outlet is None or outlet.writable:
            callback()
        else:
            outlet.when_writable(callback)

    async def drained(self) -> None:
        """Return when the client takes more again, or is gone."""
        if self.writable:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.when_writable(lambda: None if future.done() else future.set_result(None))
        await future

    def detach(self) -> None:
        """The client is gone: nothing that is written from now on goes anywhere."""
        self._outlet = None
