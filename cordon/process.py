"""Entry of every process that the supervisor starts: python -m cordon.process ROLE --slot N --parent PID.

Reads its configuration from the channel, beats from its event loop, plays its role (cordon/roles.py), ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence

import orjson
import structlog

from cordon import logs
from cordon.channel import BEAT_SECONDS, Channel
from cordon.config import Config
from cordon.life import Life
from cordon.orphans import die_with
from cordon.roles import ROLES

log = structlog.get_logger("process")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play one role until told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="cordon.process", description=__doc__.partition("\n")[0])
    parser.add_argument("role", choices=sorted(ROLES))
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args(arguments)
    die_with(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    import uvloop

    return uvloop.run(_live(options.role, options.slot))


async def _live(role: str, slot: int) -> int:
    channel = await Channel.inherited()
    messages = channel.messages()
    first = await anext(messages, None)
    if first is None:
        return 1
    config = Config.model_validate_json(orjson.dumps(first["config"]))
    life = Life(role, slot, config, lambda facts: channel.send(ready=facts))
    logs.configure(life.process, config.log)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, life.stop.set)

    async def beat() -> None:
        while True:
            channel.send(beat=1)
            await asyncio.sleep(BEAT_SECONDS)

    async def listen() -> None:
        async for message in messages:
            changed = Config.model_validate_json(orjson.dumps(message["config"]))
            logs.configure(life.process, changed.log)
            life.reconfigure(changed)
        life.stop.set()  # the supervisor is gone
        await asyncio.sleep(life.config.gateway.limits.drain_time)
        os._exit(1)

    channel.send(beat=1)  # the first of them now: the imports of a role hold the event loop up
    helpers = [asyncio.create_task(beat()), asyncio.create_task(listen())]
    try:
        await ROLES[role](life)
    except Exception as error:
        from cordon.failures import EXPECTED, told  # every package's errors: not needed for a quick start

        if isinstance(error, EXPECTED):
            channel.send(failed=told(error))
            log.error("ends: " + told(error))
        else:
            channel.send(failed=f"unexpected {type(error).__name__}; the traceback above shows where")
            log.exception("ends by an unexpected error")
        return 1
    finally:
        await channel.flush()
        for helper in helpers:
            helper.cancel()
    return 0


if __name__ == "__main__":
    sys.exit(main())
