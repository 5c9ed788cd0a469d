"""One client connection: reads requests, hands them to the handler one at a time, sends answers in order.

A connection is always in one phase, and each phase has its time limit. Requests that come while a call is under way
wait in the reader, up to a bound; then reading stops until the call is answered.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from gateway.errors import FramingError, Refusal
from gateway.exchange import Exchange
from gateway.http1 import RequestReader
from gateway.peer import Peer
from gateway.request_head import RequestHead
from gateway.sweep import NEVER

if TYPE_CHECKING:
    from gateway.listener import Listener

_log = logging.getLogger(__name__)

_HIGH_WATER = 65_536
_BURST = 16
# What is gathered in one turn of the event loop before it is sent: small pieces, and not many.
_LARGE, _MANY = 16_384, 32
_UNREAD = RequestHead("GET", "/", "", b"/", [])
_RETRY = ((b"retry-after", b"1"),)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


# Where a connection is, in order. Only in CALL is there an exchange that the handler answers.
IDLE, HEAD, BODY, CALL, LINGER, CLOSED = range(6)


class Connection(asyncio.Protocol):
    """The protocol object of one client; `Listener` makes and counts them."""

    __slots__ = (
        "_advancing", "_client", "_eof", "_exchange", "_held", "_held_out", "_listener", "_out",
        "_paused", "_phase", "_reader", "_total", "_transport", "_waiters", "deadline", "last", "peer", "writable",
    )  # fmt: skip

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._reader = RequestReader(listener.limits)
        self._exchange: Exchange | None = None
        self._phase = HEAD
        self._client = ""
        self.peer: Peer | None = None
        self._waiters: list[Callable[[], None]] = []
        self._out: list[bytes] = []
        self._held = self._held_out = 0
        self._advancing = self._eof = self._paused = False
        self.writable = True
        self.last = False
        self.deadline = self._total = NEVER

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected; its head is awaited from now on."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if isinstance(peer, tuple) else ""
        self.peer = self._listener.meet(transport)
        self._enter(HEAD)
        if not self._listener.admit(self):
            self._reject(Refusal(503, "limits", "connections", "too many connections; try again", (), _RETRY))
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client, in whatever cut."""
        phase = self._phase
        if phase >= LINGER:
            return
        self._reader.feed(data)
        if phase != CALL:
            self._advance()
        else:
            self._wait_ahead()

    def eof_received(self) -> bool:
        """The client sends no more; a call under way is still answered where the transport can stay half open."""
        self._eof = True
        if self._phase == CALL:
            return self._transport.can_write_eof()
        if self._phase in {HEAD, BODY} and self._held:
            self._reject(_malformed(FramingError(400, "truncated", "the connection ended within a request")))
            return self._transport.can_write_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whichever side."""
        self._phase = CLOSED
        self._listener.forget(self)
        exchange, self._exchange = self._exchange, None
        self._listener.budget.force(-self._held - self._held_out)
        self._held = self._held_out = 0
        self.writable = True
        if exchange is not None and not exchange.over:
            exchange.detach()
            self._listener.handler.on_disconnect(exchange)
        self._wake()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        self.writable = False
        self._held_out = self._transport.get_write_buffer_size()
        self._listener.budget.force(self._held_out)
        if self._phase == CALL:
            self.deadline = min(self.deadline, self._listener.sweep.after(self._listener.limits.answer_idle_time))

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.writable = True
        self._listener.budget.force(-self._held_out)
        self._held_out = 0
        if self._phase == CALL:
            self.deadline = self._total
        self._wake()

    def on_deadline(self) -> None:
        """The time limit of the present phase has passed."""
        phase = self._phase
        if phase == CALL:
            self._give_up()
        elif phase == BODY or (phase == HEAD and self._held):
            self._reject(Refusal(408, "limits", "slow_request", "the request did not come in time"))
        else:
            self._transport.abort()

    # What an exchange calls.

    @property
    def pages(self) -> str:
        """Where clients find a page on each refusal code."""
        return self._listener.pages

    def send(self, data: bytes) -> None:
        """Send these bytes, with others of this turn of the event loop."""
        out = self._out
        if not out:
            self._listener.outbox.add(self)
        out.append(data)
        if len(data) > _LARGE or len(out) > _MANY:
            self.flush()

    def flush(self) -> None:
        """Send what has been gathered."""
        out = self._out
        if not out or self._phase == CLOSED:
            return
        self._out = []
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        if not self.writable:
            held = self._transport.get_write_buffer_size()
            self._listener.budget.force(held - self._held_out)
            self._held_out = held

    def finish(self) -> None:
        """The answer has ended; go on with the next request."""
        listener = self._listener
        self._exchange = None
        listener.budget.held -= self._held
        self._held = 0
        if self.last:
            self._close()
            return
        self._phase = IDLE
        self.deadline = listener.sweep.now + listener.times[IDLE]
        if self._paused:
            self._read_on()
        if not self._advancing and (self._eof or self._reader.buffered):
            self._advance()

    def cut(self) -> None:
        """Close the connection although the answer is incomplete."""
        self._exchange = None
        self.flush()
        self._enter(LINGER)
        self._transport.close()

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call once when the client has taken enough, or is gone."""
        self._waiters.append(callback)

    # What the listener calls.

    def drain(self) -> None:
        """Close after the call under way, at once when there is none."""
        self.last = True
        if self._phase == IDLE or (self._phase == HEAD and not self._held):
            self._enter(LINGER)
            self._transport.close()

    def introduce(self, peer: Peer) -> None:
        """Take this for the client from now on, in the call under way as well."""
        self.peer = peer
        if self._exchange is not None:
            self._exchange.peer = peer

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    # Its own steps.

    def _enter(self, phase: int) -> None:
        listener = self._listener
        self._phase = phase
        self.deadline = listener.sweep.now + listener.times[phase]

    def _advance(self) -> None:
        """Take requests out of the reader until one is under way or more bytes are needed."""
        self._advancing = True
        try:
            left = _BURST
            while self._phase < CALL and self._step():
                left -= 1
                if not left:
                    self._later()
                    break
        except FramingError as error:
            self._reject(_malformed(error))
        except Refusal as refusal:
            self._reject(refusal)
        finally:
            self._advancing = False

    def _later(self) -> None:
        """Many small requests were answered in one go; other connections have their turn before the next."""
        if self._phase < CALL and self._reader.buffered:
            self._wait_ahead()
            self._listener.loop.call_soon(self._resume)

    def _resume(self) -> None:
        if self._phase < CALL:
            self._read_on()
            self._advance()

    def _read_on(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _step(self) -> bool:
        """One step on; False when more bytes are needed."""
        reader = self._reader
        exchange = self._exchange
        if exchange is None:
            head = reader.read_head()
            if head is None:
                self._await_head()
                return False
            exchange = self._exchange = Exchange(self, head, self._client, self.peer)
            if head.close:
                self.last = True
            try:
                limit = self._listener.handler.on_head(exchange)
            except Exception as error:
                self._refuse_early(exchange, error)
                return True
            reader.allow_body(limit)
        body = reader.read_body()
        if body is None:
            self._await_body(exchange)
            return False
        listener = self._listener
        if not listener.budget.take(len(body) - self._held):
            raise _full()
        self._held = len(body)
        exchange.body = body
        self._phase = CALL
        self.deadline = self._total = listener.sweep.now + listener.times[CALL]
        try:
            listener.handler.on_request(exchange)
        except Exception as error:
            exchange.refuse(_as_refusal(error))
        return True

    def _await_head(self) -> None:
        held = self._reader.buffered
        if not held:
            if self._eof:
                self._close()
            return
        if self._eof:
            raise FramingError(400, "truncated", "the connection ended within a request")
        if not self._hold(held):
            raise _full()
        if self._phase == IDLE:
            self._enter(HEAD)

    def _await_body(self, exchange: Exchange) -> None:
        if not self._hold(self._reader.buffered):
            raise _full()
        if self._phase != BODY:
            self._enter(BODY)
            if exchange.head.expects:
                self.send(_CONTINUE)

    def _hold(self, count: int) -> bool:
        """Account for the bytes that this connection holds now; False when the worker has no room for them."""
        if not self._listener.budget.take(count - self._held):
            return False
        self._held = count
        return True

    def _wait_ahead(self) -> None:
        """Let requests that were read ahead wait: account for them, and read no more when they are many."""
        reader = self._reader
        exchange = self._exchange
        held = reader.buffered + (len(exchange.body) if exchange is not None else 0)
        self._listener.budget.force(held - self._held)
        self._held = held
        if not self._paused and reader.buffered > self._listener.limits.read_ahead and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _refuse_early(self, exchange: Exchange, error: Exception) -> None:
        """The handler does not want the request; this closes the connection unless the body is there already."""
        if not self._body_is_here():
            self.last = True
        exchange.refuse(_as_refusal(error))

    def _body_is_here(self) -> bool:
        """Take off the body of a refused request, if all of it has come; a body that has not is not waited for."""
        try:
            self._reader.allow_body(self._reader.buffered)
            return self._reader.read_body() is not None
        except FramingError:
            return False

    def _reject(self, refusal: Refusal) -> None:
        """Answer what never became a call, and close."""
        exchange = self._exchange
        self._listener.count_malformed(self._client, refusal.code)
        self.last = True
        (exchange or Exchange(self, _UNREAD, self._client)).refuse(refusal)
        if exchange is not None:
            self._listener.handler.on_disconnect(exchange)

    def _give_up(self) -> None:
        """The call took longer than it may, or the client does not take its answer."""
        exchange = self._exchange
        assert exchange is not None
        self.last = True
        exchange.refuse(Refusal(504, "limits", "total_time", "the call took longer than the gateway allows"))
        self._listener.handler.on_disconnect(exchange)

    def _close(self) -> None:
        """Close after the answer. While the client may still be sending, an end of the connection at once would reset
        it and could take the answer with it, so what comes is read over for a moment (RFC 9112 §9.6)."""
        unread = self._phase < CALL or self._reader.buffered > 0
        self.flush()
        self._enter(LINGER)
        if not unread or self._eof:
            self._transport.close()
            return
        self._reader = RequestReader(self._listener.limits)
        self._read_on()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter()


def _full() -> Refusal:
    return Refusal(503, "limits", "memory", "the gateway's buffers are full; try again", (), _RETRY)


def _malformed(error: FramingError) -> Refusal:
    return Refusal(error.status, "framing", error.code, error.detail)


def _as_refusal(error: Exception) -> Refusal:
    """A handler's refusal as it is; any other error refuses too, and its text, which may quote content, stays out."""
    if isinstance(error, Refusal):
        return error
    place = traceback.extract_tb(error.__traceback__)[-1]
    _log.error("a handler failed: %s at %s:%s", type(error).__name__, place.filename, place.lineno)
    return Refusal(500, "gateway", "internal", "the gateway failed on this call; its log says where")
