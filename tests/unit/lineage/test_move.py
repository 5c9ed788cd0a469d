"""A log that moves from SQLite to PostgreSQL: the same tree under the same key, or no move at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lineage.errors import LineageError, LogUnavailable, VerificationError, WriterPresent
from lineage.ledger import Ledger, writer_lock
from lineage.move import move_log
from lineage.paths import Paths
from lineage.place import LogPlace
from lineage.postgres_store import PostgresStore, log_exists
from lineage.reader import open_reader
from lineage.settings import Lineage
from lineage.sqlite_store import SqliteSource
from lineage.verify import verify
from tests.support.postgres import Postgres, postgres
from tests.support.records import intent, record
from tests.support.tampering import execute, flip
from tests.support.written import ORIGIN, Written, extend, mixed, written


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def quiet(_count: int) -> None:
    pass


def moved(log: Written, database: str) -> None:
    log.reader.close()
    with writer_lock(log.data_dir):
        move_log(log.data_dir, database, quiet, quiet, quiet)


@pytest.mark.parametrize("sizes", [[], [1], [255, 1, 256, 700], [3, 0, 997]], ids=str)
def test_everything_is_the_same_afterwards_and_goes_on(server: Postgres, sizes: list[int]) -> None:
    records = mixed(sum(sizes))
    batches = [records[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
    database = server.database()
    with written(*batches) as log:
        before = log.reader.source
        expected = (list(log.reader.records()), before.checkpoints(-1, 100), before.control(), before.levels())
        tiles = {
            (level, i): before.stored_tile(level, i)
            for level in range(before.levels())
            for i in range(before.stored_tiles(level)[0])
        }
        latest = log.reader.checkpoint()
        moved(log, database)
        assert not Paths(log.data_dir).log.exists()
        with writer_lock(log.data_dir), closing(Ledger(log.data_dir, Lineage(origin=ORIGIN), database)) as ledger:
            with open_reader(log.data_dir, database) as reader:
                after = reader.source
                found = (list(reader.records()), after.checkpoints(-1, 100), after.control(), after.levels())
                assert found == expected
                assert {place: after.stored_tile(*place) for place in tiles} == tiles
            ledger.append([intent(9)])
            ledger.checkpoint()
        with open_reader(log.data_dir, database) as reader:
            report = verify(reader, [log.verifier], latest)
        assert report.wrong == 0, report.lines()
        assert report.size == len(records) + 1


def test_a_database_with_a_log_is_refused_and_neither_is_changed(server: Postgres) -> None:
    database = server.database()
    with closing(PostgresStore(database)) as store:
        store.append(0, [b"theirs"])
    with written(mixed(5)) as log:
        with pytest.raises(LogUnavailable, match="is not empty"):
            moved(log, database)
        assert LogPlace(log.data_dir).exists()
    with closing(PostgresStore(database)) as store:
        assert store.read(0, 10) == [(0, b"theirs")]


def test_a_database_that_a_writer_holds_is_refused(server: Postgres) -> None:
    database = server.database()
    with (
        closing(PostgresStore(database)) as other,
        written(mixed(5)) as log,
        pytest.raises(WriterPresent, match="a Cordon works with the log"),
    ):
        assert other.elect()
        moved(log, database)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE records SET data = x'7b7d' WHERE idx = 100",
        "DELETE FROM records WHERE idx = 100",
        "DELETE FROM records WHERE idx = 299",
        "DELETE FROM tiles WHERE level = 0 AND idx = 0",
        "UPDATE epoch SET epoch = 1",
        "DELETE FROM control",
        "UPDATE checkpoints SET note = x'00' WHERE size = 300",
    ],
)
def test_a_log_that_does_not_add_up_stays_where_it_is(server: Postgres, damage: str) -> None:
    database = server.database()
    records = mixed(300)
    with written(records[:290], records[290:]) as log:
        execute(log.data_dir, damage)
        with pytest.raises(LineageError, match="cordon log verify"):
            moved(log, database)
        assert LogPlace(log.data_dir).exists()
    with closing(PostgresStore(database)) as store:
        assert (store.size(), store.checkpoint(), store.levels()) == (0, None, 0)


def test_a_flipped_bit_in_a_record_is_found(server: Postgres) -> None:
    with written(mixed(300)) as log:
        flip(log.data_dir, "records", 17, 30)
        with pytest.raises(VerificationError, match="nothing was moved"):
            moved(log, server.database())


def test_a_move_that_breaks_off_has_not_begun(server: Postgres) -> None:
    database = server.database()

    def fail(count: int) -> None:
        raise KeyboardInterrupt

    with written(mixed(1_200)) as log:
        log.reader.close()
        with writer_lock(log.data_dir):
            with pytest.raises(KeyboardInterrupt):
                move_log(log.data_dir, database, quiet, fail, quiet)
            assert log_exists(database)
            assert move_log(log.data_dir, database, quiet, quiet, quiet).records == 1_200


@pytest.mark.parametrize("more", [0, 3])
def test_a_move_that_ended_before_the_file_was_renamed_is_finished(
    server: Postgres, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    """Told to name another database, people would have moved the old log once more: a fork."""
    database = server.database()

    def killed(_path: Path) -> Path:
        raise KeyboardInterrupt

    with written(mixed(300)) as log:
        extend(log.data_dir, [intent(9)], checkpoint=False)
        with monkeypatch.context() as patched:
            patched.setattr("lineage.move.set_aside", killed)
            with pytest.raises(KeyboardInterrupt):
                moved(log, database)
        if more:
            with writer_lock(log.data_dir), closing(Ledger(log.data_dir, Lineage(origin=ORIGIN), database)) as ledger:
                ledger.append([intent(number) for number in range(more)])
                ledger.checkpoint()
        moved(log, database)
        assert not Paths(log.data_dir).log.exists()
        with open_reader(log.data_dir, database) as reader:
            assert reader.size() == 301 + more
            assert verify(reader, [log.verifier]).wrong == 0


def test_a_log_that_went_on_in_its_file_after_the_move_is_notset_aside(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = server.database()
    with written(mixed(300)) as log:
        with monkeypatch.context() as patched:
            patched.setattr("lineage.move.set_aside", lambda path: path)
            moved(log, database)
        extend(log.data_dir, [intent(1)])
        with pytest.raises(LogUnavailable, match="is not empty"):
            moved(log, database)
        assert LogPlace(log.data_dir).exists()


def test_the_file_is_never_there_without_its_last_records(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.replace
    with written(mixed(5)) as log:
        path = Paths(log.data_dir).log
        beside = path.with_name(path.name + "-wal")

        def killed(self: Path, target: Path) -> Path:
            rename(self, target)
            raise KeyboardInterrupt

        with writer_lock(log.data_dir), closing(SqliteSource(path)) as reading:
            reading.size()  # holds the write-ahead log
            monkeypatch.setattr(Path, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                move_log(log.data_dir, server.database(), quiet, quiet, quiet)
            assert beside.exists()
            assert not path.exists()


def test_a_pruned_log_moves_with_its_holes(server: Postgres) -> None:
    database = server.database()
    with written(mixed(700)) as log:
        latest = log.reader.checkpoint()
        with writer_lock(log.data_dir), closing(Ledger(log.data_dir, Lineage(origin=ORIGIN))) as ledger:
            facts = {"before": 600, "by": "ann", "control": ledger.control.digest(), "reason": "a test"}
            ledger.append([record("log.pruned", 700, facts=facts)], [0])
            ledger.checkpoint()
            while ledger.prune():
                pass
        kept = list(log.reader.records())
        assert len(kept) < 250
        moved(log, database)
        with open_reader(log.data_dir, database) as reader:
            assert list(reader.records()) == kept
            report = verify(reader, [log.verifier], latest)
        assert report.wrong == 0, report.lines()
        assert report.pruned == 701 - len(kept)
