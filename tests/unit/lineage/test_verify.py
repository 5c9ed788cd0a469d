"""Verification: what it counts, what it finds, and what it says that it did not check."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from lineage.errors import LogUnavailable
from lineage.merkle import EMPTY_ROOT
from lineage.note import Checkpoint, Signer
from lineage.paths import Paths
from lineage.reader import LogReader
from lineage.report import MAX_SHOWN, Check, Report
from lineage.side import SideStore, blob_digest
from lineage.sqlite_side import SqliteSide
from lineage.store import LogSource
from lineage.verify import verify
from tests.support.records import intent, outcome, record
from tests.support.tampering import execute
from tests.support.written import Written, extend, mixed, written


def checks(report: Report) -> dict[str, tuple[int, int]]:
    return {check.name: (check.checked, check.wrong) for check in report.checks}


def findings(report: Report) -> str:
    return "\n".join(finding for check in report.checks for finding in check.findings)


def run(log: Written, since: bytes | None = None, side: SideStore | None = None) -> Report:
    return verify(log.reader, [log.verifier], since, side)


def test_a_sound_log_is_counted_part_by_part() -> None:
    records = mixed(700)
    with written(records[:100], records[100:300], records[300:]) as log:
        report = run(log)
    assert report.wrong == 0, report.lines()
    assert checks(report) == {
        "records": (700, 0),
        "checkpoints": (3, 0),
        "tiles": (4, 0),
        "calls": (315, 0),
        "control state": (53, 0),
    }
    assert (report.size, report.covered) == (700, 700)
    assert report.dangling == 0


def test_an_empty_log_is_sound() -> None:
    with written([]) as log:
        report = run(log)
    assert report.wrong == 0
    assert checks(report)["checkpoints"] == (1, 0)
    assert checks(report)["records"] == (0, 0)


def test_what_was_not_checked_is_said() -> None:
    with written(mixed(10)) as log:
        extend(log.data_dir, [intent(1), intent(2)], checkpoint=False)
        report = run(log)
        assert report.covered == 10
        text = "\n".join(report.lines())
        assert "2 records that no checkpoint covers" in text
        assert "--since" in text
        assert "blobs beside the log" in text
        assert " ok" not in text.lower()
        with closing(SqliteSide(Paths(log.data_dir).side)) as side:
            whole = run(log, log.reader.checkpoint(), side)
        assert whole.unchecked == [report.unchecked[0], "1 blobs beside the log that are no longer there"]


def test_a_checkpoint_held_outside_must_be_a_prefix() -> None:
    with written(mixed(100)) as log:
        held = log.reader.checkpoint() or b""
        extend(log.data_dir, mixed(160)[100:])
        report = run(log, held)
        assert checks(report)["given checkpoint"] == (1, 0)
        assert report.wrong == 0


def forge(log: Written) -> None:
    """Rewrite the whole history, consistently, with the log's own key: only a checkpoint held outside shows it."""
    for table in ("records", "checkpoints", "tiles", "control"):
        execute(log.data_dir, f"DELETE FROM {table}")
    execute(log.data_dir, "UPDATE epoch SET epoch = 0")
    extend(log.data_dir, [intent(number) for number in range(120)])


def test_a_history_rewritten_with_the_key_is_found_by_a_checkpoint_held_outside() -> None:
    with written(mixed(100)) as log:
        held = log.reader.checkpoint()
        forge(log)
        assert run(log).wrong == 0
        report = run(log, held)
        assert "not those of the given checkpoint" in findings(report)


def test_a_log_cut_shorter_than_a_checkpoint_held_outside_is_found() -> None:
    with written(mixed(50), mixed(10)) as log:
        held = log.reader.checkpoint()
        for table, column in (("records", "idx"), ("checkpoints", "size - 1")):
            execute(log.data_dir, f"DELETE FROM {table} WHERE {column} >= 50")
        execute(log.data_dir, "UPDATE tiles SET hashes = substr(hashes, 1, 1600)")
        execute(log.data_dir, "UPDATE epoch SET epoch = 40")
        assert "shorter than the 60 records" in findings(run(log, held))


@pytest.mark.parametrize(
    "held", [b"", b"not a note\n", Signer.generate("written.example/log").sign(b"written.example/log\n")]
)
def test_a_given_checkpoint_that_proves_nothing_is_a_fault(held: bytes) -> None:
    with written(mixed(10)) as log:
        assert checks(run(log, held))["given checkpoint"] == (1, 1)


Tamper = Callable[[Written], None]


def sql(statement: str) -> Tamper:
    return lambda log: execute(log.data_dir, statement)


def resign(size: int, root: bytes) -> Tamper:
    """A checkpoint by somebody else's key of the same name."""

    def tamper(log: Written) -> None:
        note = Signer.generate(log.verifier.name).sign(Checkpoint(log.verifier.name, size, root).text())
        execute(log.data_dir, "INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (size, note))

    return tamper


@pytest.mark.parametrize(
    ("tamper", "found"),
    [
        (sql("DELETE FROM records WHERE idx = 137"), "records 137 to 137 are missing"),
        (sql("DELETE FROM records WHERE idx >= 290"), "there are only 290"),
        (sql("DELETE FROM records WHERE idx < 5"), "records 0 to 4 are missing"),
        (sql("UPDATE records SET idx = 10000 WHERE idx = 137"), "records 137 to 137 are missing"),
        (sql("UPDATE records SET idx = -1 WHERE idx = 0"), "records 0 to 0 are missing"),
        (sql("UPDATE records SET data = (SELECT data FROM records WHERE idx = 4) WHERE idx = 6"), "another root"),
        (sql("UPDATE records SET data = CAST('[]' AS BLOB) WHERE idx = 9"), "record 9"),
        (sql("UPDATE records SET data = CAST('{\"kind\":[]}' AS BLOB) WHERE idx = 9"), "record 9"),
        (
            sql("UPDATE records SET data = CAST(' ' || CAST(data AS TEXT) AS BLOB) WHERE idx = 9"),
            "record 9 is not in canonical form",
        ),
        (sql("UPDATE checkpoints SET size = 290 WHERE size = 300"), "speaks of 300"),
        (
            sql("UPDATE checkpoints SET note = (SELECT note FROM checkpoints WHERE size = 100) WHERE size = 300"),
            "speaks of 100",
        ),
        (resign(200, EMPTY_ROOT), "not signed by a known key"),
        (sql("INSERT INTO checkpoints VALUES (9000, x'00')"), "checkpoint of 9000"),
        (sql("DELETE FROM tiles WHERE level = 0 AND idx = 0"), "tile 0/0 is missing"),
        (sql("UPDATE tiles SET hashes = zeroblob(32) WHERE level = 1"), "tile 1/0 does not have"),
        (
            sql("UPDATE tiles SET hashes = CAST(hashes || zeroblob(32) AS BLOB) WHERE level = 0 AND idx = 1"),
            "more hashes than",
        ),
        (sql("INSERT INTO tiles VALUES (0, 7, zeroblob(32))"), "level 0 should have the tiles 0 to 1"),
        (sql("INSERT INTO tiles VALUES (3, 0, zeroblob(32))"), "level 3 should have"),
        (sql("INSERT INTO tiles VALUES (0, -1, zeroblob(32))"), "level 0 should have"),
        (sql("DELETE FROM control"), "stored control state is not"),
        (
            sql("UPDATE control SET value = CAST(replace(CAST(value AS TEXT), 'acme', 'evil') AS BLOB)"),
            "stored control state",
        ),
        (sql("UPDATE epoch SET epoch = 3"), "stored control state is not"),
    ],
)
def test_tampering_is_found_and_named(tamper: Tamper, found: str) -> None:
    records = mixed(300)
    with written(records[:100], records[100:]) as log:
        assert run(log).wrong == 0
        tamper(log)
        report = run(log)
        assert report.wrong > 0
        assert found in findings(report)


def test_the_number_of_findings_shown_is_bounded() -> None:
    with written(mixed(200)) as log:
        execute(log.data_dir, "UPDATE records SET data = x'7b7d'")
        report = run(log)
        assert checks(report)["records"] == (200, 200)
        assert sum("record " in line for line in report.lines()) <= MAX_SHOWN + 1
        assert f"and {200 - MAX_SHOWN} more" in "\n".join(report.lines())


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ([outcome(9, 500)], "outcome 2 has no intent"),
        ([outcome(9, 2)], "outcome 2 has no intent"),
        ([outcome(9, -1)], "outcome 2 has no intent"),
        ([outcome(9, 0), outcome(9, 0)], "outcome 3 has no intent"),
        ([outcome(9, 1)], "outcome 2 has no intent"),
        ([outcome(9, 0, attempt=2)], "another call or attempt"),
        ([outcome(9, 0, call="01JD0000000000000000000009")], "another call or attempt"),
        ([record("call.outcome", 9)], "outcome 2 has no intent"),
        ([record("call.outcome", 9, facts={"intent": None})], "outcome 2 has no intent"),
        ([record("call.outcome", 9, facts={"intent": [0]})], "outcome 2 has no intent"),
        ([record("call.outcome", 9, facts={"intent": True})], "outcome 2 has no intent"),
    ],
)
def test_an_outcome_needs_an_intent_of_its_own(extra: list[bytes], found: str) -> None:
    with written([intent(1), record("process.started", 2), *extra]) as log:
        assert found in findings(run(log))


def test_dangling_and_lost_intents_are_counted_not_judged() -> None:
    lost = record("process.lost", 9, facts={"lost_boot": "gateway-0-01J", "intents": [1, 2, 2, 77, "x"], "count": 2})
    with written([*[intent(number) for number in range(30)], outcome(5, 0), lost]) as log:
        report = run(log)
        assert report.wrong == 0
        assert (report.dangling, report.lost) == (27, 2)
        assert report.dangling_shown == list(range(3, 23))
        assert "intents without an outcome: 27" in "\n".join(report.lines())


def test_blobs_beside_the_log_are_checked_when_they_are_there() -> None:
    blobs = [b"blob %d" % number for number in range(4)]
    with written([intent(number, side=blob_digest(blob)) for number, blob in enumerate(blobs)]) as log:
        with closing(SqliteSide(Paths(log.data_dir).side)) as side:
            side.save([(1, blobs[0]), (1, blobs[1]), (1, blobs[2])])
            with side._transaction() as database:
                database.execute("UPDATE blobs SET blob = x'00' WHERE blob = ?", (blobs[1],))
            report = run(log, side=side)
        assert checks(report)["blobs beside the log"] == (3, 1)
        assert "blob of record 1" in findings(report)
        assert "1 blobs beside the log that are no longer there" in report.unchecked


def test_a_report_for_programs_says_the_same() -> None:
    with written(mixed(40)) as log:
        report = run(log)
    shown = report.as_dict()
    assert shown["size"] == 40
    assert shown["wrong"] == 0
    assert [check["name"] for check in shown["checks"]] == [check.name for check in report.checks]  # type: ignore[index, attr-defined]


def test_a_check_counts_more_than_it_keeps() -> None:
    check = Check("name", "things")
    for number in range(100):
        check.fault(str(number))
    assert check.wrong == 100
    assert check.findings == [str(number) for number in range(MAX_SHOWN)]


class Growing:
    """A source whose log grows at each look, as under a running writer."""

    def __init__(self, log: Written) -> None:
        self._log = log
        self._source: LogSource = log.reader.source
        self._looks = 0

    def read(self, start: int, limit: int) -> list[tuple[int, bytes]]:
        extend(self._log.data_dir, mixed(300))
        return self._source.read(start, limit)

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)


def test_a_log_that_grows_meanwhile_is_verified_as_it_was() -> None:
    with written(mixed(300)) as log:
        report = verify(LogReader(Growing(log)), [log.verifier])  # type: ignore[arg-type]
        assert report.wrong == 0, report.lines()
        assert report.size == 300
        assert log.reader.size() >= 900


class Breaking(Growing):
    """A source whose disk fails in the middle."""

    def read(self, start: int, limit: int) -> list[tuple[int, bytes]]:
        if start:
            raise LogUnavailable("log.db: the disk reports an error")
        return self._source.read(start, 100)


def test_a_log_that_cannot_be_read_to_its_end_is_reported_as_far_as_it_goes() -> None:
    with written(mixed(300)) as log:
        report = verify(LogReader(Breaking(log)), [log.verifier])  # type: ignore[arg-type]
        assert checks(report)["records"] == (100, 1)
        assert "broke off after 100" in findings(report)
