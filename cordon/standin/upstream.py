"""The stand-in as one server: which address speaks which protocol, and what goes wrong on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from types import ModuleType
from typing import Any

import orjson

from cordon.standin import anthropic, connector, embeddings, openai, responses
from cordon.standin.script import Plan, plan, plan_of
from cordon.standin.server import Answer, Broken, Received, Server

JSON = "application/json"
SHOWN = 20
DIALECTS: Mapping[str, ModuleType] = {
    "/v1/chat/completions": openai,
    "/v1/responses": responses,
    "/v1/embeddings": embeddings,
    "/v1/messages": anthropic,
}


class StandIn:
    """A running stand-in. `status`, when it is set, is what every model call is answered with, as in an outage."""

    def __init__(self) -> None:
        self.port = 0
        self.status: int | None = None
        self.released = asyncio.Event()
        self._server = Server(self._answer)
        self._numbers = count(1)

    @property
    def received(self) -> list[Received]:
        """The latest requests, the oldest first."""
        return list(self._server.received)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; the port."""
        self.port = await self._server.start(host, port)
        return self.port

    async def stop(self) -> None:
        """Cut all connections and stop listening."""
        await self._server.stop()

    async def _answer(self, request: Received, answer: Answer) -> None:
        dialect = DIALECTS.get(request.path)
        if dialect is not None and request.method == "POST":
            await self._model(dialect, request, answer)
        elif request.path.startswith("/v1/models"):
            model = openai.models(request.path.removeprefix("/v1/models").strip("/"))
            await answer.whole(404 if "error" in model else 200, JSON, orjson.dumps(model))
        elif request.path == "/standin/received":
            self._server.received.pop()
            await answer.whole(200, JSON, orjson.dumps([_shown(known) for known in self.received[-SHOWN:]]))
        else:
            asked = plan("", f"{request.query} {request.body.decode('utf-8', 'replace')}")
            status, body = connector.answer(request.method, request.path, request.body, asked)
            await self._whole(answer, status, orjson.dumps(body), asked)

    async def _model(self, dialect: ModuleType, request: Received, answer: Answer) -> None:
        try:
            asked = orjson.loads(request.body)
            assert isinstance(asked, dict)
        except (orjson.JSONDecodeError, AssertionError):
            await answer.whole(400, JSON, orjson.dumps(dialect.error(400)))
            return
        chosen = plan_of(asked)
        status = self.status or chosen.status
        if status != 200:
            await answer.whole(status, JSON, orjson.dumps(dialect.error(status)), [("retry-after", "1")])
        elif asked.get("stream") is True and dialect is not embeddings:
            await self._stream(answer, dialect.stream(asked, chosen, next(self._numbers)), chosen)
        else:
            await self._whole(answer, 200, orjson.dumps(dialect.whole(asked, chosen, next(self._numbers))), chosen)

    async def _whole(self, answer: Answer, status: int, body: bytes, chosen: Plan) -> None:
        await self._wait(chosen)
        if chosen.cut_after is None and not chosen.stall:
            await answer.whole(status, JSON, body)
            return
        await answer.start(status, JSON)
        await answer.send(body[: len(body) // 2])
        await self._break(chosen)

    async def _stream(self, answer: Answer, events: Iterator[bytes], chosen: Plan) -> None:
        limit = chosen.cut_after
        if chosen.stall:
            limit = len(chosen.pieces()) // 2
        await answer.start(200, "text/event-stream; charset=utf-8")
        for number, event in enumerate(events):
            if limit is not None and number >= limit:
                await self._break(chosen)
            await self._wait(chosen)
            await answer.send(event)
        await answer.finish()

    async def _wait(self, chosen: Plan) -> None:
        if chosen.held:
            await self.released.wait()
        if chosen.delay:
            await asyncio.sleep(chosen.delay)

    async def _break(self, chosen: Plan) -> None:
        if chosen.stall:
            await self.released.wait()
        raise Broken


@asynccontextmanager
async def standing_in(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[StandIn]:
    """A stand-in that lives as long as the block."""
    upstream = StandIn()
    await upstream.start(host, port)
    try:
        yield upstream
    finally:
        await upstream.stop()


async def run_standin(host: str, port: int, stop: asyncio.Event, ready: Callable[[int], None]) -> None:
    """Stand in until `stop`; `ready` is told the port."""
    async with standing_in(host, port) as upstream:
        ready(upstream.port)
        await stop.wait()


def _shown(request: Received) -> dict[str, Any]:
    """A request without its headers: they may carry the upstream's credential."""
    body = request.body.decode("utf-8", "replace")
    return {"method": request.method, "target": request.target, "body": body}
