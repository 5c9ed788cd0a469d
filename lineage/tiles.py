"""Tiles and entry bundles of C2SP tlog-tiles: their paths, their contents, and the tree that grows in them.

A tile of level L holds up to 256 hashes, each the root of a complete subtree over 256^L leaves. An entry bundle
holds the records of one level-0 tile, each behind its big-endian 16-bit length.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from lineage.errors import VerificationError
from lineage.merkle import HASH_SIZE, Frontier, subtree_root

WIDTH: Final = 256
"""Hashes in a full tile, records in a full entry bundle."""

_INDEX: Final = r"((?:x\d{3}/)*)(\d{3})"
_PATH: Final = re.compile(rf"tile/(entries|\d|[1-5]\d|6[0-3])/{_INDEX}(?:\.p/([1-9]\d{{0,2}}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TilePath:
    """A place in the tiled log; `level` -1 means the entry bundle. `width` is 256 for a full tile."""

    level: int
    index: int
    width: int


def index_path(index: int) -> str:
    """Return a tile's index in groups of three digits, all but the last marked by an x: 1234067 is x001/x234/067."""
    if index < 0:
        raise ValueError("a tile's index is not negative")
    path = f"{index % 1000:03d}"
    while index >= 1000:
        index //= 1000
        path = f"x{index % 1000:03d}/{path}"
    return path


def tile_path(tile: TilePath) -> str:
    """Return `tile/<level>/<index>[.p/<width>]`, or `tile/entries/…`."""
    level = "entries" if tile.level < 0 else str(tile.level)
    partial = "" if tile.width == WIDTH else f".p/{tile.width}"
    return f"tile/{level}/{index_path(tile.index)}{partial}"


def parse_tile_path(path: str) -> TilePath | None:
    """Return the place that `tile/…` names, or None when it is not the one way to write a place."""
    if len(path) > 64 or (match := _PATH.fullmatch(path)) is None:
        return None
    level, groups, last, width = match.groups()
    tile = TilePath(
        -1 if level == "entries" else int(level),
        int(groups.replace("x", "").replace("/", "") + last),
        WIDTH if width is None else int(width),
    )
    return tile if tile.width <= WIDTH and tile_path(tile) == path else None


def pack_entries(records: Sequence[bytes]) -> bytes:
    """Return the entry bundle of up to 256 records."""
    return b"".join([struct.pack(">H", len(record)) + record for record in records])


def unpack_entries(bundle: bytes) -> list[bytes]:
    """Return the records in an entry bundle; VerificationError when it is cut."""
    records = []
    position = 0
    while position < len(bundle):
        length = int.from_bytes(bundle[position : position + 2], "big")
        end = position + 2 + length
        if position + 2 > len(bundle) or end > len(bundle):
            raise VerificationError("the entry bundle is cut")
        records.append(bundle[position + 2 : end])
        position = end
    return records


def tile_hashes(tile: bytes) -> list[bytes]:
    """Return the hashes in a tile; VerificationError when its length is not a whole number of hashes."""
    if len(tile) % HASH_SIZE or len(tile) > WIDTH * HASH_SIZE:
        raise VerificationError("a tile holds up to 256 hashes of 32 bytes")
    return [tile[i : i + HASH_SIZE] for i in range(0, len(tile), HASH_SIZE)]


def widths(size: int) -> list[tuple[int, int]]:
    """Return for each tile level of a log of `size` records (full tiles, width of the partial tile behind them)."""
    rows = []
    while size:
        rows.append((size // WIDTH, size % WIDTH))
        size //= WIDTH
    return rows


class TileTree:
    """A growing tree that fills tiles: the frontier for its root, the unfinished tiles, and those finished of late."""

    __slots__ = ("_finished", "_frontier", "_open")

    def __init__(self) -> None:
        self._frontier = Frontier()
        self._open: list[bytearray] = [bytearray()]
        self._finished: dict[tuple[int, int], bytes] = {}

    @classmethod
    def restore(cls, size: int, open_tiles: Sequence[bytes]) -> TileTree:
        """Return the tree of `size` records from its unfinished tile of each level (empty where there is none)."""
        rows = widths(size)
        tree = cls()
        if len(open_tiles) != len(rows):
            raise VerificationError(f"a log of {size} records has {len(rows)} levels of tiles, not {len(open_tiles)}")
        for level, ((_, width), tile) in enumerate(zip(rows, open_tiles, strict=True)):
            if len(tile) != width * HASH_SIZE:
                raise VerificationError(f"the unfinished tile of level {level} should hold {width} hashes")
        if rows:
            tree._open = [bytearray(tile) for tile in open_tiles]
        nodes: list[bytes] = []
        for tile in reversed(open_tiles):
            nodes += _complete_subtrees(tile_hashes(tile))
        tree._frontier = Frontier(size, nodes)
        return tree

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._frontier.size

    def root(self) -> bytes:
        """Return the root over all leaves so far."""
        return self._frontier.root()

    def append(self, leaf: bytes) -> None:
        """Add the next leaf's hash, some 2 µs."""
        frontier = self._frontier
        frontier.append(leaf)
        bottom = self._open[0]
        bottom += leaf
        if len(bottom) == WIDTH * HASH_SIZE:
            self._finish()

    def append_records(self, records: Sequence[bytes]) -> None:
        """Add the leaves of records."""
        append = self.append
        for record in records:
            append(sha256(b"\x00" + record).digest())

    def _finish(self) -> None:
        level, size = 0, self.size
        while len(self._open[level]) == WIDTH * HASH_SIZE:
            size //= WIDTH
            tile = bytes(self._open[level])
            self._finished[level, size - 1] = tile
            self._open[level].clear()
            level += 1
            if level == len(self._open):
                self._open.append(bytearray())
            self._open[level] += subtree_root(tile_hashes(tile))

    def take_finished(self) -> dict[tuple[int, int], bytes]:
        """Return, by (level, index), the full tiles finished since the last call."""
        tiles, self._finished = self._finished, {}
        return tiles

    def open_tiles(self) -> dict[tuple[int, int], bytes]:
        """Return, by (level, index), the tiles that are not full yet, none of them empty."""
        rows = enumerate(zip(widths(self.size), self._open, strict=False))
        return {(level, full): bytes(tile) for level, ((full, width), tile) in rows if width}


def _complete_subtrees(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the roots of the largest complete subtrees over a tile's hashes, largest first."""
    nodes = []
    start = 0
    while start < len(hashes):
        count = 1 << (len(hashes) - start).bit_length() - 1
        nodes.append(subtree_root(hashes[start : start + count]))
        start += count
    return nodes
