"""Logs that were written in one go, without a writer process, for tests that read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lineage.keys import load_verifier
from lineage.ledger import Ledger, writer_lock
from lineage.note import Verifier
from lineage.reader import LogReader, open_reader
from lineage.settings import Lineage
from tests.support.logs import data_directory
from tests.support.records import intent, outcome, record

ORIGIN = "written.example/log"


@dataclass(frozen=True)
class Written:
    """A log and its public key."""

    data_dir: Path
    reader: LogReader
    verifier: Verifier


def extend(data_dir: Path, records: Sequence[bytes], *, checkpoint: bool = True) -> None:
    """Append records in one commit, and sign."""
    with writer_lock(data_dir), closing(Ledger(data_dir, Lineage(origin=ORIGIN))) as ledger:
        if records:
            ledger.append(records, range(len(records)))
        if checkpoint:
            ledger.checkpoint()


@contextmanager
def written(*batches: Sequence[bytes]) -> Iterator[Written]:
    """A log with a checkpoint after each batch."""
    with data_directory() as data_dir:
        for batch in batches or [[]]:
            extend(data_dir, batch)
        with open_reader(data_dir) as reader:
            yield Written(data_dir, reader, load_verifier(data_dir))


def mixed(count: int) -> list[bytes]:
    """Records of many kinds: calls with their outcomes, containments that come and go, a key."""
    records: list[bytes] = []
    target = {"target_type": "principal", "target": "acme/x", "reason": "r", "owner": "o", "until": 9_000}
    while len(records) < count:
        index = len(records)
        step = index % 20
        if step == 18:
            records.append(record("containment.applied", index, facts={"containment": f"c{index}", **target}))
        elif step == 19:
            gone = (
                {"containment": f"c{index - 1}", "by": "x", "reason": "y"} if index % 40 == 19 else {"account": "alice"}
            )
            records.append(record("containment.released" if index % 40 == 19 else "admin.signed_in", index, facts=gone))
        elif step % 2 == 0:
            records.append(intent(index, side="00" * 32) if step == 4 else intent(index))
        else:
            records.append(outcome(index, index - 1))
    return records
