"""Read access: tiles, bundles, proofs, and the records of one call."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from lineage.control import ControlState
from lineage.errors import LogUnavailable, RecordError
from lineage.ledger import Ledger, writer_lock
from lineage.merkle import leaf_hash, subtree_root, verify_consistency, verify_inclusion
from lineage.note import open_checkpoint
from lineage.reader import CALL_SLACK_MS, CALL_SPAN_MS, open_reader
from lineage.record import call_time, new_call_id
from lineage.settings import Lineage
from lineage.store import SEARCH_LIMIT
from lineage.tiles import TilePath, pack_entries, tile_hashes
from tests.support.logs import data_directory
from tests.support.records import intent, outcome, refused
from tests.support.tampering import execute
from tests.support.written import extend, mixed, written


def test_an_empty_log_has_nothing_but_says_so() -> None:
    with written([]) as log:
        assert log.reader.size() == log.reader.checkpoint_size() == 0
        assert log.reader.read(0, 10) == []
        assert list(log.reader.records()) == []
        assert log.reader.tile(0, 0, 1) is None
        assert log.reader.entries(0, 1) is None
        assert log.reader.control() == ControlState()
        with pytest.raises(RecordError):
            log.reader.inclusion_proof(0)


def test_without_a_log_there_is_no_reader() -> None:
    with data_directory() as data_dir, pytest.raises(LogUnavailable, match="cordon up"):
        open_reader(data_dir)


def test_records_are_read_in_ranges() -> None:
    records = [intent(number) for number in range(2_500)]
    with written(records) as log:
        assert log.reader.read(2_498, 100) == [(2_498, records[2_498]), (2_499, records[2_499])]
        assert list(log.reader.records()) == list(enumerate(records))
        assert list(log.reader.records(5, 8)) == list(enumerate(records))[5:8]
        assert list(log.reader.records(2_499)) == [(2_499, records[2_499])]
        assert list(log.reader.records(3_000)) == []


def test_a_search_finds_all_that_there_is_however_much_it_is() -> None:
    records = [intent(number) for number in range(2 * SEARCH_LIMIT + 500)]
    with written(records) as log:
        mark = b'"kind":"call.intent"'
        assert list(log.reader.search(mark, 0, len(records))) == list(enumerate(records))
        assert list(log.reader.search(mark, 7, SEARCH_LIMIT + 9)) == list(enumerate(records))[7 : SEARCH_LIMIT + 9]
        assert list(log.reader.search(b"no such bytes", 0, len(records))) == []


def test_tiles_and_bundles_of_any_width_up_to_the_checkpoint() -> None:
    records = [intent(number) for number in range(600)]
    leaves = [leaf_hash(data) for data in records]
    with written(records) as log:
        reader = log.reader
        for index, width in ((0, 256), (0, 1), (1, 256), (1, 17), (2, 88), (2, 1)):
            start = index * 256
            assert tile_hashes(reader.tile(0, index, width) or b"") == leaves[start : start + width]
            assert reader.entries(index, width) == pack_entries(records[start : start + width])
            assert reader.at(TilePath(-1, index, width)) == reader.entries(index, width)
            assert reader.at(TilePath(0, index, width)) == reader.tile(0, index, width)
        assert tile_hashes(reader.tile(1, 0, 2) or b"") == [subtree_root(leaves[:256]), subtree_root(leaves[256:512])]
        for level, index, width in ((0, 2, 89), (0, 2, 256), (0, 3, 1), (1, 0, 3), (2, 0, 1)):
            assert reader.tile(level, index, width) is None
        assert reader.entries(2, 89) is None
        assert reader.entries(3, 1) is None


def test_what_no_checkpoint_covers_yet_is_not_served() -> None:
    with written([intent(1), intent(2)]) as log:
        extend(log.data_dir, [intent(3)], checkpoint=False)
        assert log.reader.size() == 3
        assert log.reader.entries(0, 2) is not None
        assert log.reader.entries(0, 3) is None
        assert log.reader.tile(0, 0, 3) is None
        with pytest.raises(RecordError, match="covers 2"):
            log.reader.inclusion_proof(2)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
def test_inclusion_proofs_out_of_tiles_lead_to_the_signed_root(size: int) -> None:
    records = [intent(number) for number in range(size)]
    with written(records) as log:
        checkpoint = open_checkpoint(log.reader.checkpoint() or b"", [log.verifier])
        for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
            path = log.reader.inclusion_proof(index)
            verify_inclusion(leaf_hash(records[index]), index, size, path, checkpoint.root)


def test_proofs_for_older_sizes_are_there_too() -> None:
    records = [intent(number) for number in range(700)]
    leaves = [leaf_hash(data) for data in records]
    with written(records) as log:
        for old, new in ((1, 700), (256, 300), (300, 700), (512, 512), (699, 700)):
            verify_consistency(
                old, new, log.reader.consistency_proof(old, new), subtree_root(leaves[:old]), subtree_root(leaves[:new])
            )
            path = log.reader.inclusion_proof(old - 1, new)
            verify_inclusion(leaves[old - 1], old - 1, new, path, subtree_root(leaves[:new]))
        assert log.reader.consistency_proof(300) == log.reader.consistency_proof(300, 700)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (5, 4), (5, 11), (-1, 5)])
def test_proofs_beyond_the_checkpoint_are_refused(old: int, new: int) -> None:
    with written([intent(number) for number in range(10)]) as log:
        with pytest.raises(RecordError):
            log.reader.consistency_proof(old, new)
        with pytest.raises(RecordError):
            log.reader.inclusion_proof(10 + new, 10 + new)


def test_a_missing_tile_is_named() -> None:
    with written([intent(number) for number in range(300)]) as log:
        execute(log.data_dir, "DELETE FROM tiles WHERE level = 0 AND idx = 0")
        with pytest.raises(RecordError, match="tile 0/0"):
            log.reader.inclusion_proof(5)


def test_a_hole_in_the_records_is_never_served_as_a_bundle() -> None:
    with written([intent(number) for number in range(300)]) as log:
        execute(log.data_dir, "DELETE FROM records WHERE idx = 100")
        assert log.reader.entries(0, 256) is None
        assert log.reader.entries(0, 100) is not None


def test_the_records_of_a_call_are_found() -> None:
    calls = [new_call_id() for _ in range(40)]
    at = call_time(calls[0])
    records = []
    for number, name in enumerate(calls):
        index = len(records)
        records += [intent(at + number, call=name), outcome(at + number + 1, index, call=name), refused(at + number)]
    with written(records) as log:
        for number, name in enumerate(calls):
            found = log.reader.find(name)
            assert [(index, record["kind"]) for index, record in found] == [
                (number * 3, "call.intent"),
                (number * 3 + 1, "call.outcome"),
            ]
        assert log.reader.find(new_call_id()) == []


def test_a_call_is_found_when_the_clocks_were_wrong() -> None:
    name = new_call_id()
    at = call_time(name)
    records = [intent(at + 10**9), intent(5, call=name), *[intent(at - 10**9 + n) for n in range(50)], intent(at * 2)]
    with written(records) as log:
        assert [index for index, _ in log.reader.find(name)] == [1]


def test_a_call_that_takes_long_is_found_whole() -> None:
    name = new_call_id()
    at = call_time(name)
    fill = [intent(at + n * 1_000) for n in range(1, 900)]
    records = [intent(at + CALL_SLACK_MS // 2, call=name), *fill, outcome(at + CALL_SPAN_MS - 1, 0, call=name)]
    with written(records) as log:
        assert [index for index, _ in log.reader.find(name)] == [0, 900]


def test_text_that_quotes_a_call_is_not_its_record() -> None:
    name = new_call_id()
    at = call_time(name)
    tricks = [intent(at, path=f'"call":"{name}"'), intent(at, labels={"call": name})]
    with written([*tricks, intent(at, call=name)]) as log:
        assert [index for index, _ in log.reader.find(name)] == [2]


@pytest.mark.parametrize("call", ["", "%", "x' OR 1=1", "0" * 27])
def test_what_is_no_call_id_is_refused(call: str) -> None:
    with written([intent(1)]) as log, pytest.raises(RecordError):
        log.reader.find(call)


def test_a_reader_follows_a_log_that_is_being_written() -> None:
    with data_directory() as data_dir, writer_lock(data_dir), closing(Ledger(data_dir, Lineage())) as ledger:
        ledger.append([intent(0)])
        faults: list[str] = []
        stop = threading.Event()

        def follow(data_dir: Path) -> None:
            with open_reader(data_dir) as reader:
                last = 0
                while not stop.is_set():
                    size, covered = reader.size(), reader.checkpoint_size()
                    if size < last:
                        faults.append(f"{size} after {last}")
                    if covered and reader.entries((covered - 1) // 256, (covered - 1) % 256 + 1) is None:
                        faults.append(f"no entries at {covered}")
                    last = size

        threads = [threading.Thread(target=follow, args=(data_dir,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(100):
            ledger.append([intent(number)] * 7)
            ledger.checkpoint()
        stop.set()
        for thread in threads:
            thread.join()
        assert faults == []


def test_the_control_state_is_read() -> None:
    with written(mixed(100)) as log:
        assert len(log.reader.control().containments) == 2
        assert log.reader.control().epoch == 100
