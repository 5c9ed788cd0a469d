"""The order in which events leave: each when its texts are ready, none before an earlier one of the same text."""

from __future__ import annotations

from collections import deque

from gateway.content.channel import Channel
from gateway.content.errors import ContentError
from gateway.content.json_text import Json
from gateway.content.logprobs import Tokens
from gateway.content.pieces import Key, Piece, Waits
from gateway.content.sse import Event
from gateway.content.template import Template
from gateway.content.walk import Finding

HELD = 8 << 20
"""Most bytes of events that wait."""

Queue = deque["Held"]


class Held:
    """An event that waits. `needs`: texts, and the offsets up to which they must be ready.

    With a `template`, `value` is what stands in its holes. `size`: its bytes as they came, whatever of them is text.
    """

    __slots__ = ("event", "findings", "needs", "number", "pieces", "queues", "size", "template", "tokens", "value")

    def __init__(self, event: Event, value: Json, number: int, template: Template | None = None) -> None:
        self.event = event
        self.value = value
        self.template = template
        self.number = number
        self.size = len(event.data or b"")
        self.pieces: list[tuple[Channel, int, Piece]] = []
        self.needs: list[tuple[Channel, int]] = []
        self.findings: list[Finding] = []
        self.tokens: list[Tokens] = []
        self.queues: list[Queue] = []

    @property
    def ready(self) -> bool:
        """Whether it is the first in all its queues, and its texts are certain."""
        for queue in self.queues:
            if queue[0] is not self:
                return False
        return all(channel.ready >= offset for channel, offset in self.needs)


class Order:
    """One queue for each text; an event stands in those of its texts, and leaves from all of them at once."""

    def __init__(self) -> None:
        self._barrier: Queue = deque()
        self._queues: dict[Key, Queue] = {(): self._barrier}
        self._moved: list[Queue] = []
        self._free: list[Held] = []
        self._size = 0
        self._waiting = 0

    def queue(self, key: Key) -> Queue:
        """The queue of the text `key`: one for each field of a choice, each block, each tool call."""
        short = key[:5] if key[0] == "choices" else key[:2]
        queue = self._queues.get(short)
        if queue is None:
            queue = self._queues[short] = deque()
        return queue

    def only(self, queue: Queue) -> bool:
        """Whether all events that wait stand in this queue, so that they leave as they came whatever is ready when."""
        return self._waiting == len(queue)

    def moved(self, queue: Queue) -> None:
        """More of a text of this queue is ready."""
        self._moved.append(queue)

    def add(self, held: Held, waits: Waits, group: Key) -> None:
        """Take an event whose `queues` are those of its texts; ContentError when too much waits."""
        queues = held.queues
        if waits in ("group", "all"):
            queues += [
                queue
                for key, queue in self._queues.items()
                if (waits == "all" or key[: len(group)] == group) and not any(queue is other for other in queues)
            ]
        if self._barrier and waits in ("own", "group"):
            # An event that waits for everything has not left yet: nothing may overtake it.
            queues.append(self._barrier)
        if not queues:
            self._free.append(held)
            return
        self._size += held.size
        if self._size > HELD:
            raise ContentError("too_large", f"more than {HELD} bytes of events wait for the end of a text")
        self._waiting += 1
        for queue in queues:
            queue.append(held)
        if len(queues[0]) == 1:
            # Behind another one it is looked at when that one leaves.
            self._moved.append(queues[0])

    def leaving(self) -> list[Held]:
        """Events that may leave now, as they came."""
        moved = self._moved
        if not moved and not self._free:
            return []
        leaving, self._free = self._free, []
        while moved:
            queue = moved.pop()
            while queue and queue[0].ready:
                held = queue[0]
                for other in held.queues:
                    other.popleft()
                    if other and other is not queue:
                        moved.append(other)
                self._size -= held.size
                self._waiting -= 1
                leaving.append(held)
        if len(leaving) > 1:
            leaving.sort(key=_number)
        return leaving


def _number(held: Held) -> int:
    return held.number
