"""A process that speaks the supervisor's channel and behaves as files say: python -m tests.support.player DIR ROLE SLOT

Appends a line to `events` for everything that happens to it. The file `<role>.fail` makes it fail to start with that
text, `<role>.crash` exit before it is ready, `<role>.deaf` ignore SIGTERM, `<role>.slow` take half a second to finish.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from cordon.channel import Channel

BEAT_SECONDS = 0.1


async def _main(directory: Path, role: str, slot: str) -> int:
    def note(event: str) -> None:
        with (directory / "events").open("a") as file:
            file.write(f"{role}-{slot} {event}\n")

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    deaf = (directory / f"{role}.deaf").exists()
    loop.add_signal_handler(signal.SIGTERM, (lambda: note("deaf")) if deaf else stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: time.sleep(60))  # stuck, as a policy without an end
    channel = await Channel.inherited()

    async def listen() -> None:
        async for message in channel.messages():
            note(f"config {message['config']['gateway']['limits']['body']}")
            if not ready.is_set():
                ready.set()
        note("orphan")
        os._exit(1)

    async def beat() -> None:
        while True:
            channel.send(beat=1)
            await asyncio.sleep(BEAT_SECONDS)

    ready = asyncio.Event()
    tasks = [asyncio.create_task(listen()), asyncio.create_task(beat())]
    await ready.wait()
    if (directory / f"{role}.crash").exists():
        return 3
    failure = directory / f"{role}.fail"
    if failure.exists():
        channel.send(failed=failure.read_text())
        await channel.flush()
        return 1
    note(f"ready {os.getpid()}")
    channel.send(ready={"pid": os.getpid()})
    await stop.wait()
    if (directory / f"{role}.slow").exists():
        await asyncio.sleep(0.5)
    note("finished")
    for task in tasks:
        task.cancel()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
