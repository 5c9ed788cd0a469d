"""The log as files: JSON lines for people and programs, and a directory that any C2SP tlog-tiles client reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lineage.errors import LogUnavailable
from lineage.reader import LogReader
from lineage.tiles import WIDTH, TilePath, tile_path, widths


def export_lines(reader: LogReader, out: BinaryIO, start: int = 0, end: int | None = None) -> int:
    """Write the records in [start, end), `end` being the present size by default, as lines `{"index":…,"record":…}`.

    A record's own bytes stand unchanged in its line. Return how many were written.
    """
    count = 0
    for index, data in reader.records(start, end):
        out.write(b'{"index":%d,"record":%b}\n' % (index, data))
        count += 1
    return count


def export_tiles(reader: LogReader, directory: Path) -> int:
    """Write the latest checkpoint, its tiles and entry bundles below `directory`; return how many records they hold.

    Entry bundles with records that were pruned are left out. LogUnavailable when there is no checkpoint yet or a part
    of the log is missing.
    """
    latest = reader.source.checkpoint()
    if latest is None:
        raise LogUnavailable("the log has no checkpoint yet")
    size, note = latest
    pruned = reader.control().pruned
    for place in _places(size):
        data = reader.at(place)
        if data is None and place.level < 0 and place.index * WIDTH < pruned:
            continue
        if data is None:
            raise LogUnavailable(f"{tile_path(place)} is missing; run `cordon log verify`")
        path = directory / tile_path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "checkpoint").write_bytes(note)
    return size


def _places(size: int) -> Iterator[TilePath]:
    """Yield every tile and entry bundle that a log of `size` records has."""
    for level, (full, width) in enumerate(widths(size)):
        for kind in (level, -1) if level == 0 else (level,):
            for index in range(full):
                yield TilePath(kind, index, WIDTH)
            if width:
                yield TilePath(kind, full, width)
