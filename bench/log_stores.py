"""The log on SQLite and on PostgreSQL, on the same disk of the same machine, interleaved.

    python bench/log_stores.py [SECONDS]

Prints for each store the time of an append of one record and of batches, at the store itself, and through the log
writer with 64 callers. PostgreSQL is a cluster of its own with its default settings, over loopback.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lineage.paths import Paths
from lineage.place import LogPlace
from lineage.store import LogStore
from tests.support.logs import QUICK, connect, data_directory, start_writer
from tests.support.postgres import postgres
from tests.support.records import intent

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
ROUNDS = 3
CALLERS = 64


@contextmanager
def measured(name: str) -> Iterator[Callable[[float, int], None]]:
    """Collects (seconds, records) and prints their quantiles at the end."""
    taken: list[float] = []
    records = 0
    start = time.perf_counter()

    def note(seconds: float, count: int) -> None:
        nonlocal records
        taken.append(seconds)
        records += count

    yield note
    rate = records / (time.perf_counter() - start)
    taken.sort()
    p50, p99 = (taken[int(len(taken) * share)] * 1_000 for share in (0.5, 0.99))
    print(f"  {name:<34} p50 {p50:7.2f} ms   p99 {p99:7.2f} ms   {rate:9,.0f} records/s")


def at_the_store(store: LogStore, batch: int) -> None:
    records = [intent(number) for number in range(batch)]
    index = store.size()
    end = time.perf_counter() + SECONDS / ROUNDS
    with measured(f"store, batches of {batch}") as note:
        while (start := time.perf_counter()) < end:
            store.append(index, records)
            note(time.perf_counter() - start, batch)
            index += batch
            if store.untidy:
                store.tidy()


async def through_the_writer(data_dir: Path, callers: int) -> None:
    client = await connect(data_dir)
    end = time.perf_counter() + SECONDS / ROUNDS
    with measured(f"writer, {callers} callers") as note:

        async def caller(number: int) -> None:
            while (start := time.perf_counter()) < end:
                await client.append(intent(number))
                note(time.perf_counter() - start, 1)

        await asyncio.gather(*(caller(number) for number in range(callers)))
    await client.close()


def main() -> None:
    with postgres() as server:
        for turn in range(ROUNDS):
            for name in ("SQLite", "PostgreSQL"):
                print(f"{name}, round {turn + 1}")
                with data_directory() as data_dir:
                    database = server.database() if name == "PostgreSQL" else ""
                    Paths(data_dir).run.mkdir()
                    with closing(LogPlace(data_dir, database).store()) as store:
                        for batch in (1, 64, 1_024):
                            at_the_store(store, batch)
                with data_directory() as data_dir:
                    writer = start_writer(data_dir, QUICK, server.database() if database else "")
                    for callers in (1, CALLERS):
                        asyncio.run(through_the_writer(data_dir, callers))
                    writer.terminate()
                    writer.join()


if __name__ == "__main__":
    main()
