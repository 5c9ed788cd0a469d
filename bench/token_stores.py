"""The table of tokens on SQLite and on PostgreSQL, as a worker uses it: from an event loop, beside other calls.

    python bench/token_stores.py [SECONDS]

Each call does what a tokenising call does before it is sent: it asks for the loose values of its scope, and keeps two
tokens, new ones or ones that are kept already. Then a token is looked up, and last, what a hop to a thread costs, which
answers that are restored take for each piece where the table is PostgreSQL's. PostgreSQL is a cluster of its own with
its default settings, over loopback.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lineage.side_place import CONNECTIONS, SidePlace
from lineage.tokens import Kept, Scope, Tokens
from tests.support.postgres import postgres

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
HOUR = 3_600_000
SEALED = b"s" * 60
_numbers = itertools.count()


def new() -> list[Kept]:
    """Two tokens that nobody has kept."""
    return [Kept(f"[EMAIL_{next(_numbers):012}]", b"m" * 16, False, SEALED) for _ in range(2)]


async def measure(name: str, callers: int, work: Callable[[int], Awaitable[object]]) -> None:
    """Have so many callers do it over and over, and print how long it took each time."""
    taken: list[float] = []
    began = time.perf_counter()
    spent = time.process_time()
    end = began + SECONDS

    async def caller(number: int) -> None:
        while (start := time.perf_counter()) < end:
            await work(number)
            taken.append(time.perf_counter() - start)

    await asyncio.gather(*(caller(number) for number in range(callers)))
    rate = len(taken) / (time.perf_counter() - began)
    cost = (time.process_time() - spent) / len(taken) * 1e6
    taken.sort()
    p50, p99 = (taken[int(len(taken) * share)] * 1_000 for share in (0.5, 0.99))
    print(
        f"  {name:<26} {callers:3} callers  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  {rate:7,.0f}/s  {cost:5.0f} µs of CPU"
    )


async def play(store: Tokens, threads: Executor | None) -> None:
    """All figures of one table."""
    loop = asyncio.get_running_loop()
    scopes = [Scope(f"acme/{number}", number.to_bytes(16)) for number in range(64)]
    same = [new() for _ in scopes]
    found = [tokens[0].token for tokens in same]

    async def call(number: int, tokens: list[Kept]) -> None:
        if threads is None:
            store.loose(scopes[number], 1)
        else:
            await loop.run_in_executor(threads, store.loose, scopes[number], 1)
        await loop.run_in_executor(threads, store.keep, scopes[number], tokens, 1, HOUR)

    async def find(number: int) -> None:
        if threads is None:
            store.find(scopes[number], found[number], 1)
            await asyncio.sleep(0)
        else:
            await loop.run_in_executor(threads, store.find, scopes[number], found[number], 1)

    for callers in (1, 16, 64):
        await measure("two new tokens", callers, lambda number: call(number, new()))
        await measure("two that are kept", callers, lambda number: call(number, same[number]))
    await measure("a look-up", 1, find)
    await measure("a hop to a thread", 1, lambda _: loop.run_in_executor(threads, int))


def main() -> None:
    """Measure and print."""
    with postgres() as server, tempfile.TemporaryDirectory(prefix="cordon-bench-") as directory:
        for name, database in (("SQLite", ""), ("PostgreSQL", server.database())):
            print(name)
            threads = ThreadPoolExecutor(CONNECTIONS) if database else None
            with closing(SidePlace(Path(directory), database).tokens(most=1_000_000)) as store:
                asyncio.run(play(store, threads))


if __name__ == "__main__":
    main()
