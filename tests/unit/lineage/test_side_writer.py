"""The thread that writes side blobs and deletes old ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from lineage import side_writer
from lineage.metrics import Meter
from lineage.settings import Lineage
from lineage.side import blob_digest
from lineage.side_writer import SideWriter
from lineage.sqlite_side import SqliteSide

SETTINGS = Lineage(policy_inputs_days=1)


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_what_was_put_is_written_by_the_time_it_is_closed(tmp_path: Path) -> None:
    meter = Meter("log")
    writer = SideWriter(partial(SqliteSide, tmp_path / "side.db"), SETTINGS, meter)
    now = time.time_ns() // 1_000_000
    for number in range(2_500):
        writer.put([(now, b"blob %d" % number)])
    writer.close()
    assert writer.waiting_bytes == 0
    assert meter.counter("cordon_side_blobs_total").value == 2_500
    with closing(SqliteSide(tmp_path / "side.db")) as store:
        assert store.load(blob_digest(b"blob 2499")) == b"blob 2499"


def test_waiting_bytes_tell_what_is_not_written_yet(tmp_path: Path) -> None:
    writer = SideWriter(partial(SqliteSide, tmp_path / "side.db"), SETTINGS, Meter("log"))
    with closing(SqliteSide(tmp_path / "side.db")) as blocker, blocker._transaction():
        writer.put([(1, b"x" * 1_000)])
        assert writer.waiting_bytes == 1_000
    wait(lambda: writer.waiting_bytes == 0)
    writer.close()


def test_blobs_past_their_time_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_writer, "FORGET_SECONDS", 0.01)
    now = time.time_ns() // 1_000_000
    with closing(SqliteSide(tmp_path / "side.db")) as store:
        store.save([(now - 2 * 86_400_000, b"old %d" % number) for number in range(2_100)] + [(now, b"new")])
        writer = SideWriter(partial(SqliteSide, tmp_path / "side.db"), SETTINGS, Meter("log"))
        wait(lambda: store.load(blob_digest(b"old 2099")) is None)
        writer.close()
        assert store.load(blob_digest(b"old 0")) is None
        assert store.load(blob_digest(b"new")) == b"new"


def test_what_cannot_be_written_is_counted_and_later_blobs_are_written(tmp_path: Path) -> None:
    meter = Meter("log")
    (tmp_path / "place").write_text("in the way")
    writer = SideWriter(partial(SqliteSide, tmp_path / "place" / "side.db"), SETTINGS, meter)
    writer.put([(1, b"lost"), (2, b"lost too")])
    wait(lambda: writer.waiting_bytes == 0)
    assert meter.counter("cordon_side_failures_total").value == 2
    (tmp_path / "place").unlink()
    writer.put([(time.time_ns() // 1_000_000, b"kept")])
    wait(lambda: meter.counter("cordon_side_blobs_total").value == 1)
    writer.close()
    with closing(SqliteSide(tmp_path / "place" / "side.db")) as store:
        assert (store.load(blob_digest(b"lost")), store.load(blob_digest(b"kept"))) == (None, b"kept")


def test_what_comes_is_saved_while_much_that_is_old_is_deleted(tmp_path: Path) -> None:
    old, now = 30_000, time.time_ns() // 1_000_000
    with closing(SqliteSide(tmp_path / "side.db")) as store:
        store.save([(now - 2 * 86_400_000, b"old %d" % number) for number in range(old)])
        writer = SideWriter(partial(SqliteSide, tmp_path / "side.db"), SETTINGS, Meter("log"))
        writer.put([(now, b"first")])
        wait(lambda: store.load(blob_digest(b"old 0")) is None)
        writer.put([(now, b"new")])
        wait(lambda: store.load(blob_digest(b"new")) is not None)
        assert store.load(blob_digest(b"old %d" % (old - 1))) is not None, "all of the old went first"
        wait(lambda: store.load(blob_digest(b"old %d" % (old - 1))) is None)
        writer.close()
