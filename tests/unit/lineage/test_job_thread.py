"""One thread that does jobs in order for an event loop."""

from __future__ import annotations

import asyncio
import threading

from lineage.job_thread import JobThread


def test_jobs_are_done_in_order_in_one_other_thread_and_told_in_the_loop() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        thread = JobThread(loop, "test")
        told: list[object] = []
        threads = set()
        finished = asyncio.Event()

        def job(number: int) -> int:
            threads.add(threading.current_thread())
            return number

        def done(result: object, error: BaseException | None) -> None:
            assert threading.current_thread() is threading.main_thread()
            told.append(result if error is None else error)
            if len(told) == 20:
                finished.set()

        for number in range(20):
            thread.do(lambda number=number: job(number), done)
        await asyncio.wait_for(finished.wait(), 5)
        assert told == list(range(20))
        assert len(threads) == 1
        assert threading.main_thread() not in threads
        thread.close()

    asyncio.run(scenario())


def test_a_failing_job_is_told_and_does_not_end_the_thread() -> None:
    async def scenario() -> None:
        thread = JobThread(asyncio.get_running_loop(), "test")
        told: asyncio.Queue[tuple[object, BaseException | None]] = asyncio.Queue()
        thread.do(lambda: 1 // 0, lambda result, error: told.put_nowait((result, error)))
        thread.do(lambda: "fine", lambda result, error: told.put_nowait((result, error)))
        result, error = await told.get()
        assert result is None
        assert isinstance(error, ZeroDivisionError)
        assert await told.get() == ("fine", None)
        thread.close()

    asyncio.run(scenario())


def test_closing_does_what_is_left() -> None:
    async def scenario() -> None:
        thread = JobThread(asyncio.get_running_loop(), "test")
        did: list[int] = []
        for number in range(50):
            thread.do(lambda number=number: did.append(number), lambda *_: None)
        thread.close()
        assert did == list(range(50))

    asyncio.run(scenario())
