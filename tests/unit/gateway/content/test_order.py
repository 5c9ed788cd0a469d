"""Events leave in the order of their texts."""

from __future__ import annotations

import pytest

from gateway.content.channel import Channel
from gateway.content.errors import ContentError
from gateway.content.order import HELD, Held, Order
from gateway.content.patterns import PatternScanner
from gateway.content.pieces import Key, Waits
from gateway.content.sse import Event

SCANNER = PatternScanner()


class Play:
    """Events with texts, by name."""

    def __init__(self) -> None:
        self.order = Order()
        self.channels: dict[Key, Channel] = {}
        self.number = 0

    def add(self, name: str, *keys: Key, waits: Waits = "own", group: Key = (), size: int = 1) -> None:
        self.number += 1
        held = Held(Event(name, b""), None, self.number)
        held.size = size
        for key in keys:
            channel = self.channels.setdefault(key, Channel("", SCANNER, None))
            channel.push("x")
            held.needs.append((channel, channel.total))
            held.queues.append(self.order.queue(key))
        if waits in ("group", "all"):
            held.needs += [(c, c.total) for k, c in self.channels.items() if k[: len(group)] == group]
        self.order.add(held, waits, group)

    def ready(self, key: Key) -> None:
        self.channels[key].advance(final=True)
        self.channels[key].ended = False
        self.order.moved(self.order.queue(key))

    def leaving(self) -> list[str]:
        return [held.event.name for held in self.order.leaving()]


A: Key = ("choices", 0, "delta", "content")
B: Key = ("choices", 1, "delta", "content")
TOOL: Key = ("choices", 0, "delta", "tool_calls", 0, "function", "arguments")


def test_an_event_waits_for_its_text_and_is_overtaken_by_others_only() -> None:
    play = Play()
    play.add("a1", A)
    play.add("b1", B)
    play.add("a2", A)
    play.add("free")
    assert play.leaving() == ["free"]
    play.ready(B)
    assert play.leaving() == ["b1"]
    play.ready(A)
    assert play.leaving() == ["a1", "a2"]


def test_an_event_with_two_texts_leaves_when_both_are_ready() -> None:
    play = Play()
    play.add("both", A, B)
    play.add("a", A)
    play.ready(A)
    assert play.leaving() == []
    play.ready(B)
    assert play.leaving() == ["both", "a"]


def test_an_event_of_a_group_waits_for_its_group_only() -> None:
    play = Play()
    play.add("a", A)
    play.add("tool", TOOL)
    play.add("b", B)
    play.add("finish 0", waits="group", group=("choices", 0))
    play.ready(A)
    assert play.leaving() == ["a"]
    play.ready(TOOL)
    assert play.leaving() == ["tool", "finish 0"]
    play.ready(B)
    assert play.leaving() == ["b"]


def test_nothing_overtakes_an_event_that_waits_for_all() -> None:
    play = Play()
    play.add("a", A)
    play.add("usage", waits="all")
    play.add("later", B)
    play.add("free")
    play.add("ping", waits="none")
    assert play.leaving() == ["ping"]
    play.ready(B)
    assert play.leaving() == []
    play.ready(A)
    assert play.leaving() == ["a", "usage", "later", "free"]


def test_events_that_leave_together_leave_as_they_came() -> None:
    play = Play()
    for number in range(5):
        play.add(f"{number}a", A)
        play.add(f"{number}b", B)
    play.ready(B)
    play.ready(A)
    assert play.leaving() == [f"{number}{name}" for number in range(5) for name in "ab"]


def test_what_waits_is_bounded() -> None:
    play = Play()
    play.add("a", A, size=HELD)
    with pytest.raises(ContentError) as error:
        play.add("b", A, size=1)
    assert error.value.code == "too_large"
