"""The log as files."""

from __future__ import annotations

import io
from pathlib import Path

import orjson
import pytest

from lineage.errors import LogUnavailable
from lineage.export import export_lines, export_tiles
from lineage.merkle import leaf_hash, subtree_root
from lineage.note import open_checkpoint
from lineage.tiles import unpack_entries
from tests.support.records import intent
from tests.support.tampering import execute
from tests.support.written import extend, written

RECORDS = [intent(number) for number in range(600)]


def test_lines_hold_each_record_with_its_index() -> None:
    with written(RECORDS) as log:
        out = io.BytesIO()
        assert export_lines(log.reader, out) == 600
        lines = out.getvalue().splitlines()
        assert [orjson.loads(line)["index"] for line in lines] == list(range(600))
        assert lines[7] == b'{"index":7,"record":' + RECORDS[7] + b"}"


def test_a_range_of_lines_can_be_asked_for() -> None:
    with written(RECORDS) as log:
        out = io.BytesIO()
        assert export_lines(log.reader, out, 10, 13) == 3
        assert [orjson.loads(line)["index"] for line in out.getvalue().splitlines()] == [10, 11, 12]
        assert export_lines(log.reader, io.BytesIO(), 600) == 0


def test_the_directory_is_a_tiled_log_from_which_the_root_can_be_built_again(tmp_path: Path) -> None:
    with written(RECORDS[:100], RECORDS[100:]) as log:
        extend(log.data_dir, [intent(1)], checkpoint=False)
        assert export_tiles(log.reader, tmp_path) == 600
        names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
        assert names == [
            "checkpoint",
            "tile/0/000",
            "tile/0/001",
            "tile/0/002.p/88",
            "tile/1/000.p/2",
            "tile/entries/000",
            "tile/entries/001",
            "tile/entries/002.p/88",
        ]
        bundles = [tmp_path / "tile" / "entries" / name for name in ("000", "001", "002.p/88")]
        records = [record for bundle in bundles for record in unpack_entries(bundle.read_bytes())]
        checkpoint = open_checkpoint((tmp_path / "checkpoint").read_bytes(), [log.verifier])
        assert records == RECORDS
        assert checkpoint.root == subtree_root([leaf_hash(record) for record in records])


def test_an_empty_log_is_a_checkpoint(tmp_path: Path) -> None:
    with written([]) as log:
        assert export_tiles(log.reader, tmp_path / "new") == 0
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["checkpoint"]


def test_a_log_without_a_checkpoint_has_no_directory(tmp_path: Path) -> None:
    with written([intent(1)]) as log:
        execute(log.data_dir, "DELETE FROM checkpoints")
        with pytest.raises(LogUnavailable, match="no checkpoint"):
            export_tiles(log.reader, tmp_path)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    with written(RECORDS) as log:
        execute(log.data_dir, "DELETE FROM tiles WHERE level = 0 AND idx = 1")
        with pytest.raises(LogUnavailable, match="tile/0/001 is missing"):
            export_tiles(log.reader, tmp_path)
