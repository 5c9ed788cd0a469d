"""Any changed byte of records, tiles, checkpoints or control state is found, through SQL and in the file itself."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lineage.errors import LineageError
from lineage.keys import load_verifier
from lineage.paths import Paths
from lineage.reader import open_reader
from lineage.verify import verify
from tests.support.tampering import BLOBS, count, flip
from tests.support.written import mixed, written


def faults(data_dir: Path) -> int:
    """How many faults a verification finds; a log that cannot even be opened is one."""
    try:
        with open_reader(data_dir) as reader:
            return verify(reader, [load_verifier(data_dir)]).wrong
    except LineageError:
        return 1


@pytest.fixture(scope="module")
def sound() -> Iterator[Path]:
    """A log of 300 records under two checkpoints, closed, all of it in its one file."""
    records = mixed(300)
    with written(records[:130], records[130:]) as log:
        log.reader.close()
        assert faults(log.data_dir) == 0
        yield log.data_dir


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "var")
    return tmp_path / "var"


@pytest.mark.parametrize("table", sorted(BLOBS))
def test_a_flipped_bit_anywhere_in_a_row_is_found(copy: Path, table: str) -> None:
    chance = random.Random(table)
    rows = count(copy, table)
    for _ in range(40):
        row, offset, mask = chance.randrange(rows), chance.randrange(20_000), 1 << chance.randrange(8)
        flip(copy, table, row, offset, mask)
        assert faults(copy) > 0, (table, row, offset, mask)
        flip(copy, table, row, offset, mask)
    assert faults(copy) == 0


def test_a_flipped_bit_in_the_file_where_content_lies_is_found(copy: Path) -> None:
    """The bytes of each row are searched in the file and changed there, below SQLite."""
    path = Paths(copy).log
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        contents = [data for table, column in BLOBS.items() for (data,) in db.execute(f"SELECT {column} FROM {table}")]
    chance = random.Random(8)
    places = []
    for data in chance.sample(contents, 60):
        # A row larger than a page lies in pieces; its first 100 bytes lie together.
        start = whole.find(data[:100])
        places.append(start + chance.randrange(min(100, len(data))))
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        assert faults(copy) > 0, place
    path.write_bytes(whole)
    assert faults(copy) == 0


def test_wild_damage_to_the_file_is_found_or_without_effect_and_never_crashes(copy: Path) -> None:
    """Bytes in the unused parts of pages change nothing that is read; everything else must be found."""
    path = Paths(copy).log
    whole = path.read_bytes()
    with open_reader(copy) as reader:
        before = (list(reader.records()), reader.source.checkpoints(-1, 100), reader.control())
    chance = random.Random(9)
    found = 0
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(chance.choice((1, 4, 64))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path.write_bytes(changed)
        if faults(copy):
            found += 1
            continue
        with open_reader(copy) as reader:
            assert (list(reader.records()), reader.source.checkpoints(-1, 100), reader.control()) == before
    assert found > 30
    path.write_bytes(whole)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_found(copy: Path, keep: float) -> None:
    path = Paths(copy).log
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    assert faults(copy) > 0


def test_records_swapped_inserted_or_doubled_are_found(copy: Path) -> None:
    path = Paths(copy).log
    whole = path.read_bytes()
    changes = [
        "UPDATE records SET idx = CASE idx WHEN 5 THEN -1 ELSE idx END; UPDATE records SET idx = 5 WHERE idx = 6; "
        "UPDATE records SET idx = 6 WHERE idx = -1",
        "INSERT INTO records SELECT 300, data FROM records WHERE idx = 0; UPDATE checkpoints SET size = size + 1",
        "DELETE FROM records WHERE idx = 299",
        "DELETE FROM records",
        "DELETE FROM checkpoints WHERE size = 300",
    ]
    results = []
    for change in changes:
        with closing(sqlite3.connect(path)) as db:
            db.executescript(change)
        results.append(faults(copy) > 0)
        path.write_bytes(whole)
    assert results == [True] * 5
