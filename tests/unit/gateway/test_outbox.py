"""Everything that one turn of the event loop wants sent is sent at its end, in order."""

from __future__ import annotations

import asyncio

from gateway.outbox import Outbox


class Counted:
    def __init__(self, sent: list[int], number: int) -> None:
        self.sent = sent
        self.number = number

    def flush(self) -> None:
        self.sent.append(self.number)


def test_senders_are_flushed_once_and_in_order_at_the_end_of_the_turn() -> None:
    async def scenario() -> None:
        sent: list[int] = []
        outbox = Outbox(asyncio.get_running_loop())
        for number in range(3):
            outbox.add(Counted(sent, number))
        assert sent == []
        await asyncio.sleep(0)
        assert sent == [0, 1, 2]
        await asyncio.sleep(0)
        assert sent == [0, 1, 2]

    asyncio.run(scenario())


def test_what_a_flush_brings_about_waits_for_the_next_turn() -> None:
    class Again(Counted):
        def flush(self) -> None:
            super().flush()
            if self.number:
                self.number -= 1
                outboxes[0].add(self)

    async def scenario() -> None:
        outboxes.append(Outbox(asyncio.get_running_loop()))
        sent: list[int] = []
        outboxes[0].add(Again(sent, 2))
        for expected in ([2], [2, 1], [2, 1, 0], [2, 1, 0]):
            await asyncio.sleep(0)
            assert sent == expected

    outboxes: list[Outbox] = []
    asyncio.run(scenario())


def test_one_sender_that_fails_keeps_no_other_from_sending() -> None:
    class Failing(Counted):
        def flush(self) -> None:
            raise OSError

    async def scenario() -> None:
        sent: list[int] = []
        failures: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        outbox = Outbox(loop)
        outbox.add(Failing(sent, 0))
        outbox.add(Counted(sent, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sent == [1]
        assert len(failures) == 1

    asyncio.run(scenario())
