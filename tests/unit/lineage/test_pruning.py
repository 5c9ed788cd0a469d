"""Retention of the log: what is given up goes, control records and hashes stay, and no other hole passes for it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lineage import clock
from lineage.actions import Stamp, prune_log
from lineage.control import ControlState, from_rows, may_control
from lineage.errors import RecordError, VerificationError
from lineage.export import export_lines, export_tiles
from lineage.keys import load_verifier
from lineage.ledger import Ledger, writer_lock
from lineage.local import _OwnLog
from lineage.paths import Paths
from lineage.proof import prove
from lineage.reader import LogReader, open_reader
from lineage.record import decode, encode
from lineage.settings import Lineage
from lineage.sqlite_store import SqliteSource
from lineage.verify import verify
from tests.support.logs import connect, data_directory, running_writer
from tests.support.records import intent, outcome, record
from tests.support.written import ORIGIN, Written, extend, mixed, written

SIZE = 600
BEFORE = 400


def pruned(state: ControlState, index: int, before: int) -> bytes:
    return encode(prune_log(Stamp(index, "cli"), state, before=before, by="ann", reason="a test"))


def prune(data_dir: Path, before: int = BEFORE) -> None:
    """Give records up, and delete them."""
    with writer_lock(data_dir), closing(Ledger(data_dir, Lineage(origin=ORIGIN))) as ledger:
        ledger.append([pruned(ledger.control, ledger.size, before)], [0])
        ledger.checkpoint()
        while ledger.prune():
            pass


@pytest.fixture
def log() -> Iterator[Written]:
    with written(mixed(300), mixed(SIZE - 300)) as one:
        yield one


def faults(reader: LogReader, log: Written, since: bytes | None = None) -> list[str]:
    report = verify(reader, [log.verifier], since)
    return [finding for check in report.checks for finding in check.findings]


def test_what_is_given_up_goes_and_control_records_stay(log: Written) -> None:
    before = dict(log.reader.records())
    prune(log.data_dir)
    after = dict(log.reader.records())
    assert after.keys() == {i for i, data in before.items() if i >= BEFORE or may_control(data)} | {SIZE}
    assert all(before[index] == data for index, data in after.items() if index < SIZE)
    assert log.reader.control().pruned == BEFORE
    assert 0 < sum(index < BEFORE for index in after) < 50


def test_a_pruned_log_verifies_also_against_an_older_checkpoint_held_outside(log: Written) -> None:
    held = log.reader.checkpoint()
    with closing(sqlite3.connect(Paths(log.data_dir).log)) as db:
        first = db.execute("SELECT note FROM checkpoints ORDER BY size LIMIT 1").fetchone()[0]
    prune(log.data_dir)
    for since in (held, first):
        assert faults(log.reader, log, since) == []
    with written(mixed(300)) as other:
        assert "the given checkpoint" in faults(log.reader, log, other.reader.checkpoint())[0]
    report = verify(log.reader, [log.verifier])
    assert report.pruned == BEFORE - sum(index < BEFORE for index, _ in log.reader.records())
    assert any("were pruned" in text for text in report.unchecked)
    assert report.as_dict()["pruned"] == report.pruned


def test_half_done_pruning_verifies_too(log: Written) -> None:
    extend(log.data_dir, [pruned(log.reader.control(), SIZE, BEFORE)])
    with closing(sqlite3.connect(Paths(log.data_dir).log)) as db:
        db.execute("DELETE FROM records WHERE idx < 100 AND instr(data, 'containment') = 0 AND idx % 3 = 0")
        db.commit()
    assert faults(log.reader, log) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM records WHERE idx = 450", "records 450 to 450 are missing"),
        ("DELETE FROM records WHERE idx = 600", "the stored control state is not what the records say"),
        ("UPDATE tiles SET hashes = zeroblob(8192) WHERE level = 0 AND idx = 0", "the records have another root"),
        ("DELETE FROM tiles WHERE level = 0 AND idx = 0", "are missing"),
        ("UPDATE tiles SET hashes = zeroblob(31) WHERE level = 0 AND idx = 0", "are missing"),
        ("UPDATE control SET value = x'353030' WHERE kind = 'pruned'", "the stored control state is not what"),
        ("INSERT INTO records VALUES (3, x'7b7d')", "record 3"),
    ],
)
def test_no_other_hole_passes_for_retention(log: Written, statement: str, found: str) -> None:
    facts = {"containment": "x", "target_type": "principal", "target": "acme/y", "reason": "r", "owner": "o"}
    extend(log.data_dir, [record("containment.applied", SIZE, facts=facts | {"until": 9_000})])
    prune(log.data_dir, SIZE + 1 if "600" in statement else BEFORE)
    damage(log, statement)
    assert any(found in text for text in faults(log.reader, log))


def test_deletion_without_a_record_is_found(log: Written) -> None:
    with closing(sqlite3.connect(Paths(log.data_dir).log)) as db:
        db.execute("DELETE FROM records WHERE idx < 5")
        db.execute("INSERT INTO control VALUES ('pruned', '', x'35')")
        db.commit()
    assert any("control state" in text for text in faults(log.reader, log))


def test_pruned_records_are_not_served_and_can_be_proved_by_who_has_a_copy(log: Written, tmp_path: Path) -> None:
    copy = log.reader.read(1, 1)[0][1]
    prune(log.data_dir)
    for index, data in ((1, copy), *log.reader.read(BEFORE, 1)):
        assert prove(log.reader, index).verify(data, [log.verifier])
    assert log.reader.entries(0) is None
    assert export_tiles(log.reader, tmp_path) == SIZE + 1
    assert not (tmp_path / "tile/entries/000").exists()
    assert (tmp_path / "tile/0/000").exists()
    with (tmp_path / "lines").open("wb") as out:
        assert export_lines(log.reader, out) == sum(1 for _ in log.reader.records())


def test_nothing_is_deleted_before_a_checkpoint_covers_the_record_that_gives_it_up(log: Written) -> None:
    with writer_lock(log.data_dir), closing(Ledger(log.data_dir, Lineage(origin=ORIGIN))) as ledger:
        ledger.append([intent(SIZE), intent(SIZE + 1)])
        ledger.checkpoint()
        ledger.append([pruned(ledger.control, SIZE + 2, SIZE + 2)], [0])
        while ledger.prune():
            pass
        assert [index for index, _ in LogReader(ledger._store).records(SIZE)] == [SIZE, SIZE + 1, SIZE + 2]
        ledger.checkpoint()
        while ledger.prune():
            pass
        assert [index for index, _ in LogReader(ledger._store).records(SIZE)] == [SIZE + 2]


def damage(log: Written, *statements: str) -> None:
    with closing(sqlite3.connect(Paths(log.data_dir).log)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def test_a_revoked_key_cannot_be_revived_among_what_was_given_up() -> None:
    """Whoever deletes the revocation and puts the key back into the projection is found out by the later pruning."""
    facts = {"key": "k", "digest": "a" * 64, "name": "n", "tenant": "acme", "roles": [], "expires": None}
    created = record("admin.key_created", 0, facts=facts | {"key_kind": "caller"})
    revoked = record("admin.key_revoked", 1, facts={"key": "k", "by": "ann", "reason": "leaked"})
    with written([created]) as log:
        stolen = log.reader.control().changes(ControlState())
        extend(log.data_dir, [revoked, *[intent(index) for index in range(2, 300)]])
        prune(log.data_dir, 290)
        assert faults(log.reader, log) == []
        damage(log, "DELETE FROM records WHERE idx = 1")
        with closing(sqlite3.connect(Paths(log.data_dir).log)) as db:
            db.executemany("INSERT INTO control VALUES (?, ?, ?)", stolen)
            db.commit()
        assert log.reader.control().keys
        assert any("control state" in text for text in faults(log.reader, log))


def test_a_record_that_nobody_signed_explains_no_hole(log: Written) -> None:
    """Whoever can write to the database, but has no key, adds the record himself."""
    state = log.reader.control()
    forged = pruned(state, SIZE, BEFORE)
    folded = state.fold(decode(forged), SIZE)
    with closing(sqlite3.connect(Paths(log.data_dir).log)) as db:
        db.execute("INSERT INTO records VALUES (?, ?)", (SIZE, forged))
        db.execute("INSERT INTO control VALUES ('pruned', '', ?)", (str(BEFORE).encode(),))
        db.execute("UPDATE epoch SET epoch = ?", (folded.epoch,))
        db.execute("DELETE FROM records WHERE idx = 7")
        db.commit()
    assert log.reader.control() == folded
    assert any("no log.pruned record under a checkpoint" in text for text in faults(log.reader, log))


@pytest.mark.parametrize("before", [BEFORE, SIZE])
def test_a_log_that_is_pruned_while_it_is_verified_has_nothing_wrong(log: Written, before: int) -> None:
    class Meanwhile(SqliteSource):
        begun = False

        def read(self, start: int, limit: int) -> list[tuple[int, bytes]]:
            if not self.begun:
                self.begun = True
                prune(log.data_dir, before)
            return super().read(start, limit)

    with LogReader(Meanwhile(Paths(log.data_dir).log)) as reader:
        assert faults(reader, log) == []
        assert faults(reader, log) == []


def test_a_ledger_whose_own_last_record_was_given_up_is_taken_up_again(log: Written) -> None:
    """So it is on one of several machines that has written nothing for long."""
    with writer_lock(log.data_dir), closing(Ledger(log.data_dir, Lineage(origin=ORIGIN))) as ledger:
        ledger.append([intent(SIZE)])
        ledger.checkpoint()
        mine = ledger._last
        ledger.append([pruned(ledger.control, SIZE + 1, SIZE + 1)], [0])
        ledger.checkpoint()
        while ledger.prune():
            pass
        ledger._last = mine
        ledger._resume()
        damage(log, f"DELETE FROM records WHERE idx = {SIZE + 1}")
        ledger._last = (SIZE + 1, b"{}")
        with pytest.raises(VerificationError, match="has lost records"):
            ledger._resume()


def test_a_clock_that_is_set_forwards_makes_nothing_old(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.wall()
    monkeypatch.setattr(clock, "wall", lambda: now + 10**11)
    assert abs(clock.earliest() - now) < 60_000
    monkeypatch.setattr(clock, "wall", lambda: now - 10**11)
    assert clock.earliest() == now - 10**11


def test_an_outcome_may_have_lost_its_intent_to_retention_alone() -> None:
    calls = [data for n in range(0, 20, 2) for data in (intent(n), outcome(n + 1, n))]
    with written(calls) as log:
        prune(log.data_dir, 11)
        assert faults(log.reader, log) == []
    with written([*calls, outcome(20, 3)]) as log:
        assert any("no intent of its own" in text for text in faults(log.reader, log))


@pytest.mark.parametrize("before", [0, -1, 7, "5", None])
def test_a_record_that_gives_up_the_future_is_refused(before: object) -> None:
    facts = {"kind": "log.pruned", "before": before, "control": ControlState().digest(), "by": "x", "reason": "y"}
    with pytest.raises(RecordError):
        ControlState().fold(facts, 6)
    assert ControlState().fold(facts | {"before": 6}, 6).pruned == 6


def test_what_was_given_up_stays_given_up() -> None:
    state = ControlState().fold({"kind": "log.pruned", "before": 50, "control": ControlState().digest()}, 60)
    assert state.fold({"kind": "log.pruned", "before": 40, "control": state.digest()}, 61).pruned == 50


def test_a_record_that_knows_of_another_control_state_has_no_effect() -> None:
    key = {"kind": "admin.key_created", "key": "k", "digest": "0" * 64, "name": "n", "tenant": "t", "roles": []}
    before = ControlState()
    state = before.fold(key | {"key_kind": "caller", "expires": None}, 7)
    late = state.fold({"kind": "log.pruned", "before": 5, "control": before.digest()}, 8)
    assert (late.pruned, late.epoch, late.keys) == (0, 9, state.keys)
    assert from_rows(state.epoch, state.changes(before)).digest() == state.digest() != before.digest()


def test_the_writer_gives_up_old_records_by_itself() -> None:
    async def scenario(data_dir: Path) -> None:
        settings = Lineage(origin=ORIGIN, checkpoint_seconds=0.05, records_days=1, policy_inputs=False)
        old, now = 1_000, time.time_ns() // 1_000_000
        records = [record("call.intent", at=at) for at in [old] * 700 + [now] * 5]
        extend(data_dir, records)
        async with running_writer(data_dir, settings):
            client = await connect(data_dir)
            with open_reader(data_dir) as reader:
                async with asyncio.timeout(20):
                    while next(iter(reader.records()))[0] < 700:
                        await asyncio.sleep(0.05)
                assert client.control.pruned == 700
                told = [decode(data) for _, data in reader.records(705)]
            await client.close()
        assert [(one["kind"], one["before"]) for one in told if one["kind"] == "log.pruned"] == [("log.pruned", 700)]
        with open_reader(data_dir) as reader:
            assert verify(reader, [load_verifier(data_dir)]).wrong == 0

    with data_directory() as data_dir:
        asyncio.run(asyncio.wait_for(scenario(data_dir), 60))


def test_inputs_may_not_outlive_the_records_that_name_them() -> None:
    with pytest.raises(ValueError, match="records_days is less"):
        Lineage(records_days=5)
    assert Lineage(records_days=30).records_days == 30


def test_the_write_ahead_log_is_folded_back_while_much_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever prunes may do so because the disk is nearly full."""
    big = [record("call.refused", number, facts={"detail": "x" * 9_000}) for number in range(3_000)]
    with writer_lock(tmp_path), closing(Ledger(tmp_path, Lineage())) as ledger:
        for start in range(0, len(big), 500):
            ledger.append(big[start : start + 500])
            ledger.tidy()
        ledger.checkpoint()
        ledger.append([pruned(ledger.control, ledger.size, len(big))], [0])
        folded: list[int] = []
        monkeypatch.setattr(ledger._store, "tidy", lambda: folded.append(ledger._store._uncopied))  # type: ignore[attr-defined]
        with open_reader(tmp_path) as reader:
            _OwnLog(ledger, reader).close()
        assert ledger.control.pruned == len(big)
        assert folded
