"""What a call held is given back when it ends, at once: nothing is left for the garbage collector, which stops calls.

A worker looks for reference cycles seldom, and for some 30 ms when each call leaves one.
"""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterator

import pytest

from gateway.call import Call
from gateway.exchange import Exchange
from gateway.tokens import CallTokens
from tests.support.in_process import (
    ALLOW_ALL,
    STREAM_END,
    STREAM_HEAD,
    InProcess,
    chat,
    delta,
    play,
    read_answer,
    request_rule,
)

Ending = Callable[[InProcess], Awaitable[None]]


async def _allowed(world: InProcess) -> None:
    assert (await world.chat("Good morning.")).status == 200


async def _redacted(world: InProcess) -> None:
    assert (await world.chat("Write to anna@example.com.")).status == 200


async def _streamed(world: InProcess) -> None:
    async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
        send(STREAM_HEAD + delta("Good ") + delta("morning.", "stop") + STREAM_END)
        return True

    world.upstream.script = script
    reply = await world.call("/openai/chat/completions", chat("Hi", stream=True))
    assert (reply.status, reply.complete) == (200, True)


async def _unknown_key(world: InProcess) -> None:
    assert (await world.chat("Hi", key="cordon_none")).status == 401


async def _no_route(world: InProcess) -> None:
    assert (await world.call("/nowhere", {})).status == 404


async def _unreadable(world: InProcess) -> None:
    body = b'{"model": "a", "model": "b"}'
    reader, writer = await world.send(world.request("/openai/chat/completions", body))
    assert (await read_answer(reader)).status == 400
    writer.close()


async def _leaves_before_its_body_is_there(world: InProcess) -> None:
    body = json.dumps(chat("Hi")).encode()
    _, writer = await world.send(world.request("/openai/chat/completions", body)[:-5])
    await asyncio.sleep(0.02)
    writer.close()


async def _malformed_body(world: InProcess) -> None:
    head = world.request("/openai/chat/completions", method="PUT", extra="transfer-encoding: chunked\r\n")
    reader, writer = await world.send(head + b"none\r\n")
    assert (await read_answer(reader)).status == 400
    writer.close()


async def _too_large(world: InProcess) -> None:
    reader, writer = await world.send(
        world.request("/openai/chat/completions", method="PUT", extra="content-length: 99999999999\r\n")
    )
    assert (await read_answer(reader)).status == 413
    writer.close()


async def _upstream_fails(world: InProcess) -> None:
    async def script(_request: bytes, _send: Callable[[bytes], None]) -> bool:
        return False

    world.upstream.script = script
    assert (await world.chat("Hi")).status == 502


async def _client_leaves(world: InProcess) -> None:
    async def script(_request: bytes, send: Callable[[bytes], None]) -> bool:
        send(STREAM_HEAD)
        for _ in range(500):
            send(delta("Good "))
            await asyncio.sleep(0.01)
        return False

    world.upstream.script = script
    body = json.dumps(chat("Hi", stream=True)).encode()
    reader, writer = await world.send(world.request("/openai/chat/completions", body))
    await reader.readuntil(b"Good ")
    writer.close()
    async with asyncio.timeout(5):
        while not world.records("call.outcome"):
            await asyncio.sleep(0.02)


async def _contained(world: InProcess) -> None:
    containment = await world.contain("acme/bot")
    assert (await world.chat("Hi")).status == 403
    await world.release(containment)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "ending",
    [
        *(_allowed, _redacted, _streamed, _unknown_key, _no_route, _unreadable),
        *(_leaves_before_its_body_is_there, _malformed_body, _too_large),
        *(_upstream_fails, _client_leaves, _contained),
    ],
)
def test_an_ended_call_leaves_nothing_to_the_collector(ending: Ending) -> None:
    async def scene(world: InProcess) -> None:
        before = _held()
        for _ in range(3):
            await ending(world)
        await _given_back(before)

    play(scene, {"request.rego": ALLOW_ALL})


@pytest.mark.usefixtures("no_collector")
def test_a_call_that_tokenised_lets_go_of_the_values() -> None:
    async def scene(world: InProcess) -> None:
        before = _held(CallTokens)
        for _ in range(3):
            assert (await world.chat("Write to anna@example.com.")).status == 200
        async with asyncio.timeout(5):
            while _held(CallTokens) > before:
                await asyncio.sleep(0.01)

    play(scene, request_rule('{"allow": true, "redact": {"email": "tokenise"}}'))


@pytest.mark.usefixtures("no_collector")
def test_nor_does_one_that_policy_refuses() -> None:
    async def scene(world: InProcess) -> None:
        before = _held()
        for _ in range(3):
            assert (await world.chat("Hi")).status == 403
        await _given_back(before)

    play(scene, request_rule('{"allow": false}'))


def _held(*kinds: type) -> int:
    return sum(isinstance(each, kinds or (Call, Exchange)) for each in gc.get_objects())


async def _given_back(before: int) -> None:
    """A connection that ends lets go of its last call some turns of the loop later."""
    async with asyncio.timeout(5):
        while _held() > before:
            await asyncio.sleep(0.01)
