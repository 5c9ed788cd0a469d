"""One connection to an upstream: sends a request, hands its answer on, then waits for the next one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from gateway.answers import AnswerReader
from gateway.errors import FramingError, UpstreamError, UpstreamFault
from gateway.sweep import NEVER

if TYPE_CHECKING:
    from gateway.upstream import Peer, UpstreamCall, UpstreamPool


class UpstreamConnection(asyncio.Protocol):
    """Without a call it is idle in the pool; bytes that come then make it unfit, since nobody asked for them."""

    __slots__ = ("_call", "_closed", "_paused", "_pool", "_reader", "_transport", "_used", "deadline", "peer")

    def __init__(self, pool: UpstreamPool, peer: Peer) -> None:
        self.peer = peer
        self.deadline = NEVER
        self._pool = pool
        self._call: UpstreamCall | None = None
        self._reader: AnswerReader | None = None
        self._used = False
        self._closed = True
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open, TLS included."""
        self._transport = cast(asyncio.Transport, transport)
        self._closed = False

    def send(self, call: UpstreamCall) -> bool:
        """Send the call's request and hand on what comes back; False when the upstream was seen to close."""
        if self._closed or self._transport.is_closing():
            return False
        pool = self._pool
        call.connection = self
        self._call = call
        self._reader = AnswerReader(pool.limits, for_head=call.method == "HEAD")
        if call.paused:
            self.pause()
        self.deadline = pool.sweep.now + pool.first_byte_time
        pool.outbox.add(self)
        return True

    def flush(self) -> None:
        """Send the request."""
        call = self._call
        if call is not None and not self._closed:
            self._transport.write(call.request)
            if call.body:
                self._transport.write(call.body)

    def data_received(self, data: bytes) -> None:
        """Bytes from the upstream, in whatever cut."""
        call, reader = self._call, self._reader
        if call is None or reader is None:
            self.drop()
            return
        begun = reader.head is not None
        try:
            content = reader.feed(data)
        except FramingError as error:
            self._fail("protocol", f"endpoint {self.peer.name} sent a malformed answer: {error.detail}")
            return
        head = reader.head
        sink = call.sink
        if head is not None and not begun:
            call.length = head.length
            call.request = call.body = b""
            sink.on_answer_head(head.status, head.headers)
        if content and not call.over:
            sink.on_answer_data(content)
        if call.over:
            return
        if reader.complete:
            self._complete(call, reader)
        elif not self._paused:
            self.deadline = self._pool.sweep.now + self._pool.answer_idle_time

    def eof_received(self) -> bool:
        """The upstream sends no more."""
        call, reader = self._call, self._reader
        if call is not None and reader is not None and reader.head is not None:
            try:
                reader.end()
            except FramingError as error:
                self._fail("reset", f"endpoint {self.peer.name}: {error.detail}")
            else:
                self._complete(call, reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whichever side."""
        self._closed = True
        self._pool.forget(self)
        if self._call is not None:
            self._broken("reset the connection" if exc is not None else "closed the connection")

    def on_deadline(self) -> None:
        """Idle for too long, or the upstream did not answer in time."""
        if self._call is None:
            self.drop()
        elif self._reader is not None and self._reader.touched:
            self._fail("timeout", f"endpoint {self.peer.name} stopped in the middle of its answer")
        else:
            self._fail("timeout", f"endpoint {self.peer.name} did not begin to answer in time")

    def pause(self) -> None:
        """Read no more for now; the time that passes is not the upstream's."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self.deadline = NEVER
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self.deadline = self._pool.sweep.now + self._pool.answer_idle_time
            self._transport.resume_reading()

    def drop(self) -> None:
        """Close at once; a call on it hears nothing more from here."""
        self._call = None
        self._pool.forget(self)
        if not self._closed:
            self._closed = True
            self._transport.abort()

    def _complete(self, call: UpstreamCall, reader: AnswerReader) -> None:
        self._call = self._reader = None
        self._used = True
        if self._paused:
            self.resume()
        if not reader.reusable or self._transport.get_write_buffer_size() or not self._pool.keep(self, reader):
            self.drop()
        call.finish().on_answer_end()

    def _broken(self, how: str) -> None:
        """The connection ended under a call: again on a fresh one where that is safe, else an error."""
        call, reader = self._call, self._reader
        self._call = self._reader = None
        if call is None or call.over:
            return
        untouched = reader is None or not reader.touched
        if self._used and untouched and call.repeatable:
            call.dial()
            return
        when = "before it answered" if untouched else "before its answer was complete"
        call.fail(UpstreamError("reset", f"endpoint {self.peer.name} {how} {when}", sent=True))

    def _fail(self, kind: UpstreamFault, detail: str) -> None:
        call = self._call
        self.drop()
        if call is not None:
            call.fail(UpstreamError(kind, detail, sent=True))
