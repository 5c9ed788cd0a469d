from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

import orjson

from cordon.channel import DESCRIPTOR, LONGEST_LINE, Channel


def talk(scene: Callable[[Channel, Channel], Awaitable[None]]) -> None:
    """Play a scene between the two ends of a channel."""

    async def play() -> None:
        ours, theirs = socket.socketpair()
        here, there = await Channel.over(ours), await Channel.over(theirs)
        try:
            await asyncio.wait_for(scene(here, there), 10)
        finally:
            here.close()
            there.close()

    asyncio.run(play())


def test_messages_arrive_whole_and_in_order() -> None:
    async def scene(here: Channel, there: Channel) -> None:
        here.send(config={"a": [1, 2]})
        here.send(config=orjson.Fragment(b'{"b":"\xc3\xa9"}'))
        messages = there.messages()
        assert await anext(messages) == {"config": {"a": [1, 2]}}
        assert await anext(messages) == {"config": {"b": "é"}}

    talk(scene)


def test_a_large_configuration_fits() -> None:
    async def scene(here: Channel, there: Channel) -> None:
        here.send(config="x" * (LONGEST_LINE // 2))
        assert len((await anext(there.messages()))["config"]) == LONGEST_LINE // 2

    talk(scene)


def test_the_end_of_one_side_ends_the_other_s_messages() -> None:
    async def scene(here: Channel, there: Channel) -> None:
        here.send(beat=1)
        await here.flush()
        here.close()
        assert [message async for message in there.messages()] == [{"beat": 1}]
        there.send(ready={})
        await there.flush()
        there.send(ready={})

    talk(scene)


def test_half_a_line_is_no_message() -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair()
        there = await Channel.over(theirs)
        ours.sendall(b'{"beat":1}\n{"bea')
        ours.close()
        assert [message async for message in there.messages()] == [{"beat": 1}]
        there.close()

    asyncio.run(scene())


def test_a_line_without_an_end_is_given_up() -> None:
    async def scene(here: Channel, there: Channel) -> None:
        here.send(config="x" * (LONGEST_LINE + 10))
        assert [message async for message in there.messages()] == []

    talk(scene)


def test_the_descriptor_is_not_handed_on_to_further_processes() -> None:
    async def scene() -> None:
        ours, theirs = socket.socketpair()
        os.environ[DESCRIPTOR] = str(theirs.detach())
        channel = await Channel.inherited()
        assert DESCRIPTOR not in os.environ
        channel.close()
        ours.close()

    asyncio.run(scene())
