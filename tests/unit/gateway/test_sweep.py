"""One coarse clock for all timeouts."""

from __future__ import annotations

import asyncio

from gateway.sweep import NEVER, Sweep


class Item:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.passed = asyncio.Event()
        self.times = 0

    def on_deadline(self) -> None:
        self.times += 1
        self.deadline = NEVER
        self.passed.set()


def test_a_passed_deadline_is_told_once_and_others_are_not() -> None:
    async def scenario() -> None:
        sweep = Sweep(0.01)
        due, later, forgotten = Item(sweep.after(0.0)), Item(sweep.after(60)), Item(sweep.after(0.0))
        for item in (due, later, forgotten):
            sweep.watch(item)
        sweep.forget(forgotten)
        sweep.forget(forgotten)
        assert len(sweep) == 2
        await asyncio.wait_for(due.passed.wait(), 5)
        await asyncio.sleep(0.05)
        assert (due.times, later.times, forgotten.times) == (1, 0, 0)
        sweep.close()
        sweep.close()

    asyncio.run(scenario())


def test_a_deadline_is_never_early() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        sweep = Sweep(0.05)
        await asyncio.sleep(0.03)
        began = loop.time()
        item = Item(sweep.after(0.1))
        sweep.watch(item)
        await asyncio.wait_for(item.passed.wait(), 5)
        assert loop.time() - began >= 0.1
        sweep.close()

    asyncio.run(scenario())


def test_an_item_may_forget_itself_while_the_others_are_told() -> None:
    class Leaving(Item):
        def __init__(self, sweep: Sweep) -> None:
            super().__init__(sweep.after(0))
            self.sweep = sweep

        def on_deadline(self) -> None:
            super().on_deadline()
            self.sweep.forget(self)

    async def scenario() -> None:
        sweep = Sweep(0.01)
        items = [Leaving(sweep) for _ in range(5)]
        for item in items:
            sweep.watch(item)
        for item in items:
            await asyncio.wait_for(item.passed.wait(), 5)
        assert len(sweep) == 0
        sweep.close()

    asyncio.run(scenario())
