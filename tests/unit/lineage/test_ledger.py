"""The ledger: records, tree, control state and checkpoints in step, over restarts and failures."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lineage.errors import KeyFileError, LogUnavailable, RecordError, VerificationError, WriterPresent
from lineage.keys import load_verifier
from lineage.ledger import RETRY_SECONDS, Ledger, writer_lock
from lineage.note import open_checkpoint
from lineage.paths import Paths
from lineage.settings import Lineage
from lineage.tiles import TileTree
from tests.support.logs import data_directory
from tests.support.records import intent, record
from tests.support.tampering import execute, flip

SETTINGS = Lineage(origin="test.example/log")
APPLIED = {
    "containment": "c1",
    "target_type": "principal",
    "target": "acme/x",
    "reason": "r",
    "owner": "o",
    "until": 9_000,
}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with data_directory() as path, writer_lock(path):
        yield path


def reopen(data_dir: Path) -> Ledger:
    return Ledger(data_dir, SETTINGS)


def append(ledger: Ledger, *numbers: int) -> None:
    ledger.append([intent(number) for number in numbers])
    ledger.grow()


def test_a_new_log_is_empty_and_gets_an_empty_checkpoint_at_most_once(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        assert (ledger.size, ledger.checkpointed, ledger.origin) == (0, -1, "test.example/log")
        note = ledger.checkpoint()
        assert note is not None
        assert open_checkpoint(note, [load_verifier(data_dir)]).size == 0
        assert ledger.checkpoint() is None


def test_indexes_follow_each_other(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        assert ledger.append([intent(1), intent(2)]) == (0, [])
        assert ledger.append([intent(3)]) == (2, [])
        assert ledger.size == 3


def test_a_checkpoint_signs_the_root_of_all_records(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        tree = TileTree()
        for batch in (1, 254, 1, 300):
            records = [intent(number) for number in range(batch)]
            ledger.append(records)
            tree.append_records(records)
            checkpoint = open_checkpoint(ledger.checkpoint() or b"", [load_verifier(data_dir)])
            assert (checkpoint.size, checkpoint.root) == (tree.size, tree.root())
            assert ledger.checkpointed == tree.size


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 600])
@pytest.mark.parametrize("more", [0, 1, 300])
def test_a_restart_goes_on_from_the_checkpoint_and_the_records_after_it(data_dir: Path, size: int, more: int) -> None:
    with closing(reopen(data_dir)) as ledger:
        append(ledger, *range(size))
        ledger.checkpoint()
        append(ledger, *range(more))
    tree = TileTree()
    tree.append_records([intent(number) for number in (*range(size), *range(more), 7)])
    with closing(reopen(data_dir)) as ledger:
        assert ledger.size == size + more
        append(ledger, 7)
        checkpoint = open_checkpoint(ledger.checkpoint() or b"", [load_verifier(data_dir)])
        assert (checkpoint.size, checkpoint.root) == (tree.size, tree.root())


def test_control_records_fold_at_their_index_and_survive_a_restart(data_dir: Path) -> None:
    applied = record("containment.applied", 5, facts=APPLIED)
    with closing(reopen(data_dir)) as ledger:
        first, controls = ledger.append([intent(1), applied, intent(2)], [1])
        assert (first, controls) == (0, [(1, applied)])
        assert ledger.control.epoch == 2
        state = ledger.control
    with closing(reopen(data_dir)) as ledger:
        assert ledger.control == state
        released = record("containment.released", 6, facts={"containment": "c1", "by": "x", "reason": "y"})
        ledger.append([released], [0])
        assert dict(ledger.control.containments) == {}
    with closing(reopen(data_dir)) as ledger:
        assert ledger.control.epoch == 4


def test_a_false_alarm_is_no_control_record(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        assert ledger.append([intent(1, labels={"kind": "containment.applied"})], [0]) == (0, [])
        assert ledger.control.epoch == 0


def test_a_record_that_cannot_be_folded_leaves_nothing_behind(data_dir: Path) -> None:
    bad = record("containment.applied", 5, facts={**APPLIED, "until": None})
    with closing(reopen(data_dir)) as ledger:
        with pytest.raises(RecordError):
            ledger.append([intent(1), bad], [1])
        assert ledger.size == 0
        assert ledger.append([intent(1)]) == (0, [])


def test_only_one_may_write(data_dir: Path) -> None:
    with pytest.raises(WriterPresent, match=r"log\.lock"), writer_lock(data_dir):
        pass


def test_the_lock_and_the_log_are_for_their_owner_only(data_dir: Path) -> None:
    reopen(data_dir).close()
    paths = Paths(data_dir)
    assert paths.run.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (paths.lock, paths.log)} == {0o600}


def test_a_log_that_was_signed_does_not_go_on_without_its_key(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        ledger.checkpoint()
    (Paths(data_dir).keys / "log.key").unlink()
    with pytest.raises(KeyFileError, match="restore"):
        reopen(data_dir)


def test_a_log_does_not_go_on_under_another_key(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        append(ledger, 1)
        ledger.checkpoint()
    for path in Paths(data_dir).keys.iterdir():
        path.unlink()
    with data_directory() as other:
        with writer_lock(other):
            Ledger(other, SETTINGS).close()
        for path in Paths(other).keys.iterdir():
            (Paths(data_dir).keys / path.name).write_bytes(path.read_bytes())
            (Paths(data_dir).keys / path.name).chmod(0o600)
    with pytest.raises(VerificationError):
        reopen(data_dir)


@pytest.mark.parametrize("table", ["tiles", "checkpoints"])
def test_a_tampered_head_of_the_log_is_not_built_upon(data_dir: Path, table: str) -> None:
    with closing(reopen(data_dir)) as ledger:
        append(ledger, *range(10))
        ledger.checkpoint()
    flip(data_dir, table, 0, 40)
    with pytest.raises(VerificationError):
        reopen(data_dir)


def test_a_hole_after_the_last_checkpoint_is_not_built_upon(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        append(ledger, *range(5))
        ledger.checkpoint()
        append(ledger, *range(5))
    execute(data_dir, "DELETE FROM records WHERE idx = 7")
    with pytest.raises(VerificationError, match="missing after index"):
        reopen(data_dir)


def test_a_control_state_ahead_of_the_records_is_not_built_upon(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        append(ledger, 1)
    execute(data_dir, "UPDATE epoch SET epoch = 99")
    with pytest.raises(VerificationError, match="ahead"):
        reopen(data_dir)


def test_after_a_failure_the_store_is_left_alone_for_a_moment_and_then_taken_up(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        append(ledger, 1)
        with closing(sqlite3.connect(Paths(data_dir).log, isolation_level=None)) as intruder:
            intruder.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogUnavailable, match="locked"):
                append(ledger, 2)
            with pytest.raises(LogUnavailable, match="locked"):
                append(ledger, 3)  # Fails with the same reason, without waiting for the disk.
            intruder.execute("ROLLBACK")
        ledger._retry_at -= RETRY_SECONDS
        append(ledger, 4)
        assert ledger.size == 2
        ledger.checkpoint()


def test_a_commit_that_is_there_after_all_is_found(data_dir: Path) -> None:
    """The disk may take a commit and report a failure; what is really there counts, not what was thought."""
    with closing(reopen(data_dir)) as ledger:
        append(ledger, 1)
        ledger._store.append(1, [intent(2)])
        with pytest.raises(LogUnavailable):
            append(ledger, 3)
        ledger._retry_at -= RETRY_SECONDS
        assert ledger.append([intent(4)]) == (2, [])


def test_acknowledged_records_that_vanish_are_never_written_over(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        append(ledger, 1, 2, 3)
        execute(data_dir, "DELETE FROM records WHERE idx = 2")
        with closing(sqlite3.connect(Paths(data_dir).log, isolation_level=None)) as intruder:
            intruder.execute("BEGIN IMMEDIATE")
            with pytest.raises(LogUnavailable):
                append(ledger, 4)
            intruder.execute("ROLLBACK")
        for _ in range(3):
            ledger._retry_at -= RETRY_SECONDS
            with pytest.raises((VerificationError, LogUnavailable), match="lost records"):
                append(ledger, 5)


def test_a_log_replaced_by_another_file_takes_nothing_more(data_dir: Path) -> None:
    with closing(reopen(data_dir)) as ledger:
        append(ledger, 1)
        path = Paths(data_dir).log
        path.rename(path.with_name("moved"))
        path.write_bytes(b"")
        for _ in range(2):
            with pytest.raises(LogUnavailable, match="deleted or replaced"):
                append(ledger, 2)
            ledger._retry_at -= RETRY_SECONDS
        with pytest.raises(LogUnavailable, match="deleted or replaced"):
            ledger.checkpoint()
