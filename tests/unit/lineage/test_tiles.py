"""Tiles: paths, entry bundles and the tree that grows in them."""

from __future__ import annotations

import random

import pytest

from lineage.errors import VerificationError
from lineage.merkle import leaf_hash, subtree_root
from lineage.tiles import (
    TilePath,
    TileTree,
    index_path,
    pack_entries,
    parse_tile_path,
    tile_hashes,
    tile_path,
    unpack_entries,
    widths,
)


@pytest.mark.parametrize(
    ("index", "path"),
    [
        (0, "000"),
        (67, "067"),
        (999, "999"),
        (1_000, "x001/000"),
        (1_234_067, "x001/x234/067"),
        (999_999, "x999/999"),
        (1_000_000, "x001/x000/000"),
    ],
)
def test_an_index_is_written_in_groups_of_three_digits(index: int, path: str) -> None:
    assert index_path(index) == path


def test_a_negative_index_has_no_path() -> None:
    with pytest.raises(ValueError, match="negative"):
        index_path(-1)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (TilePath(0, 0, 256), "tile/0/000"),
        (TilePath(3, 1_234_067, 256), "tile/3/x001/x234/067"),
        (TilePath(0, 273, 112), "tile/0/273.p/112"),
        (TilePath(-1, 273, 112), "tile/entries/273.p/112"),
        (TilePath(-1, 1_000, 256), "tile/entries/x001/000"),
        (TilePath(63, 0, 1), "tile/63/000.p/1"),
    ],
)
def test_a_path_names_a_tile_and_comes_back(tile: TilePath, path: str) -> None:
    assert tile_path(tile) == path
    assert parse_tile_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "tile/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/x000",
        "tile/0/x001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "tile/0/000\n",
        "tile/0/٠٠٠",
        "tile/Entries/000",
        "tile/0/../0/000",
        "/tile/0/000",
        "tile/0/" + "x001/" * 30 + "000",
        "tile/data/000",
    ],
)
def test_what_is_not_the_one_way_to_write_a_place_is_no_path(path: str) -> None:
    assert parse_tile_path(path) is None


def test_a_bundle_puts_each_length_before_its_record() -> None:
    assert pack_entries([b"ab", b"", b"c"]) == b"\x00\x02ab\x00\x00\x00\x01c"
    assert pack_entries([b"z" * 65_535])[:3] == b"\xff\xffz"


def test_a_bundle_comes_back() -> None:
    records = [random.Random(n).randbytes(n * 3) for n in range(256)]
    assert unpack_entries(pack_entries(records)) == records
    assert unpack_entries(b"") == []


@pytest.mark.parametrize("bundle", [b"\x00", b"\x00\x02a", b"\x00\x01ab", b"\xff\xff"])
def test_a_cut_bundle_is_refused(bundle: bytes) -> None:
    with pytest.raises(VerificationError):
        unpack_entries(bundle)


@pytest.mark.parametrize("tile", [b"x" * 31, b"x" * 33, b"x" * (257 * 32)])
def test_a_tile_is_a_whole_number_of_hashes(tile: bytes) -> None:
    with pytest.raises(VerificationError):
        tile_hashes(tile)


@pytest.mark.parametrize(
    ("size", "rows"),
    [
        (0, []),
        (1, [(0, 1)]),
        (255, [(0, 255)]),
        (256, [(1, 0), (0, 1)]),
        (257, [(1, 1), (0, 1)]),
        (70_000, [(273, 112), (1, 17), (0, 1)]),
        (65_536, [(256, 0), (1, 0), (0, 1)]),
    ],
)
def test_the_widths_of_a_log_follow_from_its_size(size: int, rows: list[tuple[int, int]]) -> None:
    assert widths(size) == rows


def expected_tiles(leaves: list[bytes]) -> dict[tuple[int, int], bytes]:
    """All tiles of a tree, from their definition."""
    tiles = {}
    row, level = leaves, 0
    while row:
        for index in range((len(row) + 255) // 256):
            tiles[level, index] = b"".join(row[index * 256 : (index + 1) * 256])
        row = [subtree_root(row[i : i + 256]) for i in range(0, len(row) - 255, 256)]
        level += 1
    return tiles


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 1_000, 65_536, 66_000])
def test_a_growing_tree_fills_the_tiles_of_its_definition(size: int) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    tree = TileTree()
    for leaf in leaves:
        tree.append(leaf)
    assert tree.size == size
    assert tree.root() == subtree_root(leaves)
    assert {**tree.take_finished(), **tree.open_tiles()} == expected_tiles(leaves)
    assert tree.take_finished() == {}


def test_records_and_leaf_hashes_grow_the_same_tree() -> None:
    records = [b"%d" % number for number in range(300)]
    one, other = TileTree(), TileTree()
    one.append_records(records)
    for record in records:
        other.append(leaf_hash(record))
    assert one.root() == other.root()


@pytest.mark.parametrize("size", [0, 1, 7, 256, 300, 65_536, 65_800])
def test_a_tree_restored_from_its_unfinished_tiles_grows_on(size: int) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(size + 600)]
    tree = TileTree()
    for leaf in leaves[:size]:
        tree.append(leaf)
    stored = tree.open_tiles()
    restored = TileTree.restore(size, [stored.get((level, full), b"") for level, (full, _) in enumerate(widths(size))])
    assert restored.root() == tree.root()
    for leaf in leaves[size:]:
        restored.append(leaf)
        tree.append(leaf)
    assert restored.root() == tree.root()
    assert restored.open_tiles() == tree.open_tiles()


def test_a_tree_is_not_restored_from_the_wrong_tiles() -> None:
    with pytest.raises(VerificationError, match="levels"):
        TileTree.restore(300, [b"x" * 32])
    with pytest.raises(VerificationError, match="level 0"):
        TileTree.restore(300, [b"x" * 32, b"x" * 32])
