"""A thousand kills: processes of a Cordon under load end by SIGKILL, one after the other, at random moments.

At the end every part has to work again, the log to verify, every answer that a client received complete to have its
records, and every intent without an outcome to be reported by the life that began it.
Usage: python -m bench.endure [--kills 1000] [--seed N]; prints the seed first, exits with 1 where a promise is broken.
Which process dies when is the seed's; what it was doing then is not, since the machine decides that.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import time
from collections import Counter

from tests.support.gateway import Cordon, cordon
from tests.support.load import PARTS, Load, check_promise, check_unfinished, recovered, two_workers

SHORTEST, LONGEST = 0.1, 2.0
"""Seconds between two kills."""
TOLD_EVERY = 25
PATIENCE = 60.0
"""Seconds for a process to be there again that is to be killed: one that dies again and again is paused."""


def endure(gateway: Cordon, load: Load, kills: int, chance: random.Random) -> Counter[str]:
    """Kill this many processes; how often each."""
    killed: Counter[str] = Counter()
    while sum(killed.values()) < kills:
        time.sleep(chance.uniform(SHORTEST, LONGEST))
        name = chance.choice(PARTS)
        deadline = time.monotonic() + PATIENCE
        while not _kill(gateway, name):
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} does not come back:\n{gateway.errors[-3_000:]}")
            time.sleep(0.05)
        killed[name] += 1
        if sum(killed.values()) % TOLD_EVERY == 0:
            done = f"{sum(killed.values()):>6,} kills  {len(load.complete):>8,} complete answers"
            print(f"{done}  {load.errors:>8,} refused or broken off", file=sys.stderr, flush=True)
    return killed


def _kill(gateway: Cordon, name: str) -> bool:
    """Whether the process was there to be killed."""
    try:
        gateway.kill(name)
    except (KeyError, ProcessLookupError):
        return False
    return True


def main() -> None:
    """Run it and say what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.endure", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=None, help="of another run, to repeat its order of kills")
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with cordon(two_workers) as gateway:
        key = gateway.key("loader")
        began = time.monotonic()
        with Load(gateway, key) as load:
            killed = endure(gateway, load, options.kills, random.Random(seed))
        took = time.monotonic() - began
        recovered(gateway, key)
        if not load.complete:
            raise SystemExit("not one answer came through: the run says nothing")
        intents, outcomes = check_promise(gateway, load)
        check_unfinished(gateway, intents, outcomes)
        report = gateway.cli("log", "verify")
        print(f"{sum(killed.values()):,} kills in {took:,.0f} s: {dict(sorted(killed.items()))}")
        print(f"{len(load.complete):,} answers received complete, all recorded; {len(load.broken):,} broken off")
        print(f"{len(intents):,} intents, {len(outcomes):,} outcomes; the log verifies: {report['wrong'] == 0}")
        if report["wrong"]:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
