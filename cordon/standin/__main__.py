"""`python -m cordon.standin [--host HOST] [--port PORT]`: stand in until Ctrl-C; the port is printed first."""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Sequence

from cordon.standin import run_standin


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stand-in by itself."""
    parser = argparse.ArgumentParser(prog="cordon.standin", description="A stand-in upstream with canned answers.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8082, help="0: any that is free")
    options = parser.parse_args(arguments)
    asyncio.run(_run(options.host, options.port))
    return 0


async def _run(host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run_standin(host, port, stop, lambda chosen: print(chosen, flush=True))


if __name__ == "__main__":
    raise SystemExit(main())
