"""Each system call of the log writer's commit path fails once, with each error that a disk can give."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from lineage.errors import LogUnavailable
from lineage.keys import load_verifier
from lineage.paths import Paths
from lineage.reader import open_reader
from lineage.verify import verify
from tests.support.logs import connect, data_directory, start_writer
from tests.support.records import intent, record
from tests.support.remote_ledger import LedgerFailed, RemoteLedger, remote_ledger
from tests.support.shim import CALLS, Shim, shimmed

ERRORS = (errno.EIO, errno.ENOSPC, errno.EINTR)
STEPS = ("open", "append", "checkpoint", "tidy", "close")
APPLIED = {"target_type": "principal", "target": "acme/x", "reason": "r", "owner": "o", "until": 9_000}


class Acknowledged:
    """Every record that was acknowledged, and an endless supply of new ones, some of which change the control state."""

    def __init__(self) -> None:
        self.records: dict[int, bytes] = {}
        self._numbers = itertools.count()

    def batch(self) -> list[bytes]:
        number = next(self._numbers)
        applied = record("containment.applied", number, facts={"containment": f"c{number % 50}", **APPLIED})
        return [*(intent(number, path="/" + "x" * 3_000, boot=f"b{n}") for n in range(3)), applied]

    def append(self, ledger: RemoteLedger) -> None:
        batch = self.batch()
        first = ledger("append", batch)
        assert not self.records.keys() & set(range(first, first + len(batch))), "an index was given out twice"
        self.records |= dict(enumerate(batch, first))

    def check(self, data_dir: Path) -> None:
        """Nothing acknowledged is lost or moved, no index is missing, and everything verifies."""
        with open_reader(data_dir) as reader:
            stored = dict(reader.records())
            assert sorted(stored) == list(range(len(stored)))
            assert {index: stored[index] for index in self.records} == self.records
            report = verify(reader, [load_verifier(data_dir)])
        assert report.wrong == 0, report.lines()


@contextmanager
def shimmed_ledger() -> Iterator[tuple[Path, Shim, RemoteLedger]]:
    """A data directory and a ledger of it under the shim, for the length of the block."""
    with data_directory(memory=True) as data_dir, shimmed("cordon-log.db", data_dir) as shim, ExitStack() as stack:
        yield data_dir, shim, stack.enter_context(remote_ledger(data_dir))


def step(ledger: RemoteLedger, name: str, acknowledged: Acknowledged) -> None:
    if name == "append":
        acknowledged.append(ledger)
    else:
        ledger(name)


def calls_of_each_step(ledger: RemoteLedger, acknowledged: Acknowledged, shim: Shim) -> dict[tuple[str, str], int]:
    """How many calls of each kind each step makes, found by taking it."""
    found: dict[tuple[str, str], int] = {}
    for name in STEPS:
        before = shim.counts()
        step(ledger, name, acknowledged)
        after = shim.counts()
        found |= {(name, call): after[call] - before[call] for call in CALLS if after[call] > before[call]}
    return found


def fail(
    ledger: RemoteLedger, acknowledged: Acknowledged, shim: Shim, at: tuple[str, str], nth: int, error: int
) -> bool:
    """One life in which one call fails, and the proof that the ledger works on afterwards; whether it did fail."""
    failing, call = at
    for name in STEPS[: STEPS.index(failing)]:
        step(ledger, name, acknowledged)
    shim.arm(call, nth, error)
    opened = failing != "open"
    with suppress(LedgerFailed):
        step(ledger, failing, acknowledged)
        opened = True
    fired = shim.disarm()
    if not opened or failing == "close":
        ledger("open")
    go_on(ledger, acknowledged)
    return fired


def go_on(ledger: RemoteLedger, acknowledged: Acknowledged) -> None:
    """What follows on a failure: it may refuse a moment longer, and then works, by itself."""
    for attempt in range(4):
        try:
            acknowledged.append(ledger)
            break
        except LedgerFailed:
            assert attempt < 3
            ledger("rest")
    ledger("checkpoint")
    ledger("close")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: errno.errorcode[error])
def test_whichever_call_fails_nothing_acknowledged_is_lost_and_the_log_verifies(error: int) -> None:
    with (
        data_directory(memory=True) as data_dir,
        shimmed("cordon-log.db", data_dir) as shim,
        remote_ledger(data_dir) as ledger,
    ):
        acknowledged = Acknowledged()
        calls_of_each_step(ledger, acknowledged, shim)
        sites = calls_of_each_step(ledger, acknowledged, shim)
        assert {
            ("append", "write"),
            ("append", "sync"),
            ("checkpoint", "sync"),
            ("tidy", "write"),
            ("tidy", "sync"),
        } <= (sites.keys())
        failed = 0
        for at, count in sites.items():
            for nth in range(count):
                failed += fail(ledger, acknowledged, shim, at, nth, error)
        assert failed >= 0.9 * sum(sites.values()), "the calls that were counted are those that fail"
        acknowledged.check(data_dir)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: errno.errorcode[error])
def test_a_log_whose_making_failed_at_any_call_is_made_by_the_next_start(error: int) -> None:
    """The first start: the file, its tables and its first records."""
    failed = 0
    with data_directory(memory=True) as home, shimmed("cordon-log.db") as shim, remote_ledger(home) as ledger:
        for call in ("open", "write", "sync", "lock", "map", "truncate", "unlink"):
            for nth in itertools.count(0, 2):
                data_dir = home / f"{call}-{nth}"
                data_dir.mkdir(0o700)
                ledger("move", data_dir)
                shim.arm(call, nth, error)
                with suppress(LedgerFailed):
                    ledger("open")
                fired = shim.disarm()
                ledger("close")
                ledger("open")
                acknowledged = Acknowledged()
                acknowledged.append(ledger)
                ledger("checkpoint")
                ledger("close")
                acknowledged.check(data_dir)
                failed += fired
                if not fired:
                    break
    assert failed > 20


def test_a_writer_goes_on_after_any_call_of_its_commits_failed() -> None:
    """The same through the writer's socket: what fails is refused, what is acknowledged stays, and it works on."""

    async def scenario(data_dir: Path, shim: Shim) -> None:
        writer = start_writer(data_dir)
        client = await connect(data_dir)
        acknowledged = Acknowledged()
        refused = 0
        for call, nth, error in itertools.product(("write", "sync", "lock", "stat"), range(3), ERRORS):
            shim.arm(call, nth, error)
            for _ in range(200):
                batch = acknowledged.batch()
                answers = await asyncio.gather(*map(client.append, batch), return_exceptions=True)
                if isinstance(answers[0], LogUnavailable):
                    refused += 1
                    await asyncio.sleep(0.02)
                for answer, data in zip(answers, batch, strict=True):
                    if isinstance(answer, int):
                        assert answer not in acknowledged.records
                        acknowledged.records[answer] = data
                    else:
                        assert isinstance(answer, LogUnavailable)
                if shim.fired and isinstance(answers[0], int):
                    break
            assert shim.disarm(), (call, nth)
        assert refused > 5 and writer.is_alive()
        await client.close()
        writer.terminate()
        writer.join()
        acknowledged.check(data_dir)

    with data_directory(memory=True) as data_dir, shimmed("cordon-log.db", data_dir) as shim:
        asyncio.run(asyncio.wait_for(scenario(data_dir, shim), 60))


def test_the_shim_does_what_it_is_told(tmp_path: Path) -> None:
    """A shim that fails nothing would let the tests above pass."""
    assert os.environ.get("LD_PRELOAD") is None
    with (
        data_directory(memory=True) as data_dir,
        shimmed("cordon-log.db", data_dir) as shim,
        remote_ledger(data_dir) as ledger,
    ):
        ledger("open")
        shim.arm("sync", 0, errno.EIO)
        with pytest.raises(LedgerFailed, match="the disk reports an error"):
            ledger("append", [intent(1)])
        assert shim.disarm()
        ledger("rest")
        assert ledger("append", [intent(2)]) == 0
        assert Paths(data_dir).log.exists()
