"""The gateway's listener and upstream parts wired as a plain proxy: no identity, no policy, no record.

This is a measure of the protocols alone, beside nginx, and not a configuration of the product.
Usage: python -m bench.plain_proxy PORT UPSTREAM_URL WORKERS
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Sequence

import uvloop

from gateway.budget import Budget
from gateway.errors import Refusal, UpstreamError
from gateway.fields import Field
from gateway.listener import Exchange, Listener
from gateway.settings import Endpoint, Limits
from gateway.sweep import Sweep
from gateway.upstream import UpstreamCall, UpstreamPool


class Relay:
    """The sink of one call: hands the answer on as it comes, in one go where it came in one piece."""

    __slots__ = ("call", "exchange", "head")

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.head: tuple[int, Sequence[Field]] | None = None
        self.call: UpstreamCall

    def on_answer_head(self, status: int, headers: Sequence[Field]) -> None:
        if self.call.length is None:
            self.exchange.start(status, headers, None)
        else:
            self.head = (status, headers)

    def on_answer_data(self, data: bytes) -> None:
        exchange = self.exchange
        if self.head is not None:
            status, headers = self.head
            if len(data) == self.call.length:
                exchange.answer(status, headers, data)
                return
            self.head = None
            exchange.start(status, headers, self.call.length)
        exchange.write(data)
        if not exchange.writable:
            self.call.pause()
            exchange.when_writable(self.call.resume)

    def on_answer_end(self) -> None:
        exchange = self.exchange
        exchange.context = None
        if not exchange.over:
            if self.head is not None:
                exchange.start(*self.head, self.call.length)
            exchange.end()

    def on_answer_error(self, error: UpstreamError) -> None:
        self.exchange.refuse(Refusal(502, "upstream", error.kind, error.detail))


class PlainProxy:
    """A handler that sends every request to one upstream."""

    def __init__(self, pool: UpstreamPool, endpoint: Endpoint, limits: Limits) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._body_limit = limits.body

    def on_head(self, exchange: Exchange) -> int:
        return self._body_limit

    def on_request(self, exchange: Exchange) -> None:
        head = exchange.head
        relay = exchange.context = Relay(exchange)
        relay.call = self._pool.request(self._endpoint, head.method, head.target, head.headers, exchange.body, relay)

    def on_disconnect(self, exchange: Exchange) -> None:
        if exchange.context is not None:
            exchange.context.call.abort()


async def serve(port: int, upstream: str) -> None:
    limits = Limits()
    sweep = Sweep()
    pool = UpstreamPool(limits, sweep)
    handler = PlainProxy(pool, Endpoint(id="upstream", url=upstream), limits)
    listener = Listener(handler, limits, sweep, Budget(limits.buffered))
    await listener.start("127.0.0.1", port, reuse_port=True)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    await asyncio.Event().wait()


def main() -> None:
    port, upstream, workers = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    for _ in range(workers - 1):
        if os.fork() == 0:
            break
    uvloop.run(serve(port, upstream))


if __name__ == "__main__":
    main()
