"""What every log store keeps to, whatever database it lies in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from lineage.control import ControlState
from lineage.errors import LogUnavailable
from lineage.postgres_store import PostgresSource, PostgresStore
from lineage.sqlite_store import SqliteSource, SqliteStore
from lineage.store import Change, LogSource, LogStore
from tests.support.postgres import Postgres, postgres
from tests.support.records import intent

Open = tuple[LogStore, Callable[[], LogSource]]


@contextmanager
def on_postgres(database: str) -> Iterator[Open]:
    store = PostgresStore(database)
    assert store.elect()
    yield store, lambda: PostgresSource(database)
    store.close()


@contextmanager
def sqlite(path: Path) -> Iterator[Open]:
    store = SqliteStore(path / "log.db")
    yield store, lambda: SqliteSource(path / "log.db")
    store.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], AbstractContextManager[Open]]:
    """Opens one and the same log, each time it is called."""
    if request.param == "sqlite":
        return lambda: sqlite(tmp_path)
    database = request.getfixturevalue("server").database()
    return lambda: on_postgres(database)


@pytest.fixture
def opened(opening: Callable[[], AbstractContextManager[Open]]) -> Iterator[Open]:
    with opening() as pair:
        yield pair


@pytest.fixture
def store(opened: Open) -> LogStore:
    return opened[0]


def test_a_new_store_is_empty(store: LogStore) -> None:
    assert store.size() == 0
    assert store.read(0, 10) == []
    assert store.checkpoint() is None
    assert store.checkpoints(-1, 10) == []
    assert store.stored_tile(0, 0) is None
    assert store.stored_tiles(0) == (0, 0)
    assert store.levels() == 0
    assert store.control() == ControlState()


def test_appended_records_are_read_in_order_by_index(store: LogStore) -> None:
    records = [intent(number) for number in range(25)]
    store.append(0, records[:10])
    store.append(10, records[10:])
    assert store.size() == 25
    assert store.read(0, 1_000) == list(enumerate(records))
    assert store.read(7, 5) == list(enumerate(records))[7:12]
    assert store.read(25, 5) == []
    assert store.read(3, 0) == []


@pytest.mark.parametrize("data", [b"x", b"\0\xff\0", b"y" * 65_535], ids=["one", "binary", "largest"])
def test_bytes_come_back_as_they_went_in(store: LogStore, data: bytes) -> None:
    store.append(0, [data])
    assert store.read(0, 1) == [(0, data)]


def test_an_append_says_where_its_records_are_and_what_held_there(store: LogStore) -> None:
    assert store.append(0, [b"a", b"b"]) == (0, 0)
    one = containment("c1", 2, ControlState())
    assert store.append(2, [b"r", b"s"], change(ControlState(), one, 2)) == (2, 0)
    assert store.append(4, [b"t"]) == (4, 3)
    assert store.pulse() == (5, 3)


def test_a_log_that_lacks_known_records_takes_nothing(store: LogStore) -> None:
    """What was acknowledged and is gone is never written over. (SQLite's file has one writer, which looks first.)"""
    store.append(0, [b"a", b"b"])
    if isinstance(store, PostgresStore):
        assert store.append(3, [b"c"]) is None
        assert store.append(3, [b"c"], change(ControlState(), containment("c1", 3, ControlState()), 3)) is None
    assert store.read(0, 10) == [(0, b"a"), (1, b"b")]
    assert store.control() == ControlState()


def test_a_change_of_a_control_state_that_others_changed_is_not_made(store: LogStore) -> None:
    one = containment("c1", 0, ControlState())
    store.append(0, [b"r"], change(ControlState(), one, 0))
    two = containment("c2", 1, ControlState())
    assert store.append(1, [b"s"], change(ControlState(), two, 1)) is None
    assert store.control() == one
    assert store.size() == 1


def test_a_log_is_bound_to_one_key(store: LogStore) -> None:
    assert store.bind("") == ""
    assert store.bind("ours+01") == "ours+01"
    if isinstance(store, PostgresStore):
        assert store.bind("theirs+02") == store.bind("") == "ours+01"


def test_another_reader_sees_a_commit_as_soon_as_the_append_returns(opened: Open) -> None:
    store, open_source = opened
    source = open_source()
    for number in range(20):
        store.append(number, [intent(number)])
        assert source.size() == number + 1
        assert source.read(number, 1) == [(number, intent(number))]
    source.close()


def test_readers_in_threads_never_see_half_a_batch(opened: Open) -> None:
    store, open_source = opened
    faults: list[int] = []
    stop = threading.Event()

    def look() -> None:
        source = open_source()
        while not stop.is_set():
            size = source.size()
            if size % 10 or len(source.read(0, 1_000)) % 10:
                faults.append(size)
        source.close()

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for batch in range(50):
        store.append(batch * 10, [b"r"] * 10)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []


def test_checkpoints_and_their_tiles_are_kept_together(store: LogStore) -> None:
    store.save_checkpoint(3, b"note of 3", {(0, 0): b"t" * 96})
    store.save_checkpoint(300, b"note of 300", {(0, 0): b"T" * 8_192, (0, 1): b"u" * 1_408, (1, 0): b"v" * 32})
    assert store.checkpoint() == (300, b"note of 300")
    assert store.checkpoints(-1, 10) == [(3, b"note of 3"), (300, b"note of 300")]
    assert store.checkpoints(3, 10) == [(300, b"note of 300")]
    assert store.checkpoints(-1, 1) == [(3, b"note of 3")]
    assert store.stored_tile(0, 0) == b"T" * 8_192
    assert store.stored_tile(1, 0) == b"v" * 32
    assert store.stored_tile(1, 1) is None
    assert store.stored_tiles(0) == (2, 2)
    assert store.levels() == 2


def test_a_checkpoint_of_a_size_that_has_one_is_refused_with_its_tiles(store: LogStore) -> None:
    store.save_checkpoint(3, b"first", {(0, 0): b"a" * 96})
    with pytest.raises(LogUnavailable):
        store.save_checkpoint(3, b"second", {(0, 0): b"b" * 96})
    assert store.checkpoint() == (3, b"first")
    assert store.stored_tile(0, 0) == b"a" * 96


def test_a_tile_beyond_a_hole_is_counted_but_does_not_lie_below_the_count(store: LogStore) -> None:
    store.save_checkpoint(1, b"n", {(0, 0): b"a" * 32, (0, 2): b"b" * 32})
    assert store.stored_tiles(0) == (2, 1)


def change(before: ControlState, after: ControlState, first: int) -> Change:
    return Change(after.changes(before), before.epoch, after.epoch - first)


def containment(name: str, index: int, state: ControlState) -> ControlState:
    record = {"kind": "containment.applied", "at": 1, "containment": name, "target_type": "principal"}
    return state.fold({**record, "target": "acme/x", "reason": "r", "owner": "o", "until": 2}, index)


def test_the_control_state_changes_with_its_records_or_not_at_all(opened: Open) -> None:
    store, open_source = opened
    one = containment("c1", 0, ControlState())
    two = containment("c2", 1, one)
    store.append(0, [b"r"], change(ControlState(), one, 0))
    assert store.control() == one
    store.append(1, [b"s"], change(one, two, 1))
    ended = two.fold({"kind": "containment.released", "containment": "c1", "by": "x", "reason": "y"}, 2)
    store.append(2, [b"t"], change(two, ended, 2))
    source = open_source()
    assert source.control() == ended
    assert list(source.control().containments) == ["c2"]
    source.close()


def test_search_finds_bytes_in_a_range(store: LogStore) -> None:
    store.append(0, [b"alpha", b"beta", b"gamma alpha", b"\0alpha\xff"])
    assert store.search(b"alpha", 0, 4) == [(0, b"alpha"), (2, b"gamma alpha"), (3, b"\0alpha\xff")]
    assert store.search(b"alpha", 1, 3) == [(2, b"gamma alpha")]
    assert store.search(b"%", 0, 4) == []


def test_search_is_bounded(store: LogStore) -> None:
    store.append(0, [b"same"] * 1_500)
    assert len(store.search(b"same", 0, 1_500)) == 1_000


def test_a_store_opened_again_has_everything(opening: Callable[[], AbstractContextManager[Open]]) -> None:
    for number in range(3):
        with opening() as (store, _):
            assert store.size() == number
            store.append(number, [intent(number)])


def test_housekeeping_comes_due_and_loses_nothing(opened: Open) -> None:
    store, open_source = opened
    data = b"z" * 60_000
    for number in range(200):
        store.append(number, [data])
        if store.untidy:
            store.tidy()
            assert not store.untidy
    assert open_source().read(0, 1_000) == [(number, data) for number in range(200)]


def test_a_store_that_is_reopened_takes_the_place_of_the_old_one(store: LogStore) -> None:
    store.append(0, [b"a"])
    again = store.reopen()
    again.check()
    assert again.elect()
    again.append(1, [b"b"])
    assert again.read(0, 10) == [(0, b"a"), (1, b"b")]
    with pytest.raises(LogUnavailable):
        store.append(2, [b"c"])
    again.close()


@pytest.mark.parametrize("name", ["c1", "\0", "é\u2028", "x" * 10_000])
def test_any_text_can_be_the_id_of_a_part_of_the_control_state(store: LogStore, name: str) -> None:
    state = containment(name, 0, ControlState())
    store.append(0, [b"r"], change(ControlState(), state, 0))
    assert store.control() == state
    ended = state.fold({"kind": "containment.released", "containment": name, "by": "x", "reason": "y"}, 1)
    store.append(1, [b"s"], change(state, ended, 1))
    assert store.control() == ended


def test_pruning_deletes_in_bites_and_spares_control_records(store: LogStore) -> None:
    keep = intent(3).replace(b'"kind":"call.intent"', b'"kind":"containment.expired"')
    records = [intent(number) if number != 3 else keep for number in range(10)]
    store.append(0, records)
    store.save_checkpoint(10, b"note", {(0, 0): b"t" * 320})
    assert store.prune(0, 7, 4) == 4
    assert [index for index, _ in store.read(0, 100)] == [3, 4, 5, 6, 7, 8, 9]
    assert store.prune(4, 7, 4) == 7
    assert store.read(0, 100) == [(3, keep), *[(index, records[index]) for index in (7, 8, 9)]]
    assert store.prune(0, 7, 1) == 4, "what is kept is passed over"
    assert store.size() == 10
    assert store.stored_tile(0, 0) == b"t" * 320
    store.append(10, [b"more"])
    assert store.size() == 11
