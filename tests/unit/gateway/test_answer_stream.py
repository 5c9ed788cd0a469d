"""Reading an upstream's answer: nothing lost, nothing unbounded, an early end never taken for the end."""

from __future__ import annotations

import asyncio

import pytest

from gateway.answer_stream import HIGH_WATER, AnswerStream
from gateway.errors import UpstreamError


class Upstream:
    """Stands for the sending side: notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")

    def abort(self) -> None:
        self.told.append("abort")


def stream() -> tuple[AnswerStream, Upstream]:
    made, upstream = AnswerStream(), Upstream()
    made.upstream = upstream  # type: ignore[assignment]
    return made, upstream


def test_head_and_pieces_are_read_in_order_and_none_marks_the_proper_end() -> None:
    async def dialogue() -> None:
        answer, _ = stream()
        reading = asyncio.create_task(answer.head())
        await asyncio.sleep(0)
        answer.on_answer_head(200, [(b"a", b"b")])
        assert await reading == (200, [(b"a", b"b")])
        answer.on_answer_data(b"one")
        answer.on_answer_data(b"two")
        assert await answer.read() == b"onetwo"
        assert not answer.at_end()
        answer.on_answer_data(b"three")
        answer.on_answer_end()
        assert not answer.at_end()
        assert await answer.read() == b"three"
        assert answer.at_end()
        assert await answer.read() is None

    asyncio.run(dialogue())


def test_an_error_before_the_head_is_raised_where_the_head_is_awaited() -> None:
    async def dialogue() -> None:
        answer, _ = stream()
        reading = asyncio.create_task(answer.head())
        await asyncio.sleep(0)
        answer.on_answer_error(UpstreamError("connect", "nobody listens", sent=False))
        with pytest.raises(UpstreamError, match="nobody listens"):
            await reading

    asyncio.run(dialogue())


def test_what_came_before_a_break_is_still_read_and_then_the_break_is_raised() -> None:
    async def dialogue() -> None:
        answer, _ = stream()
        answer.on_answer_head(200, [])
        answer.on_answer_data(b"half")
        answer.on_answer_error(UpstreamError("reset", "closed early", sent=True))
        assert await answer.read() == b"half"
        assert not answer.at_end()
        with pytest.raises(UpstreamError):
            await answer.read()

    asyncio.run(dialogue())


def test_an_upstream_that_is_faster_than_the_reader_is_paused_and_resumed() -> None:
    async def dialogue() -> None:
        answer, upstream = stream()
        answer.on_answer_head(200, [])
        answer.on_answer_data(bytes(HIGH_WATER))
        assert upstream.told == []
        answer.on_answer_data(b"x")
        answer.on_answer_data(b"y")
        assert upstream.told == ["pause"]
        assert len(await answer.read() or b"") == HIGH_WATER + 2
        assert upstream.told == ["pause", "resume"]

    asyncio.run(dialogue())


def test_an_answer_that_nobody_reads_on_is_cut_unless_it_is_over() -> None:
    live, upstream = stream()
    live.abandon()
    assert upstream.told == ["abort"]
    over, upstream = stream()
    over.on_answer_end()
    over.abandon()
    assert upstream.told == []
