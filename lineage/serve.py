"""The log's read interface as a function from paths to bytes; the control server puts HTTP around it.

Paths, relative to where the log is served: `checkpoint`, `vkey`, `tile/<level>/<index>[.p/<width>]`,
`tile/entries/<index>[.p/<width>]` (C2SP tlog-tiles) and `proof/<record index>` (C2SP tlog-proof).
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage.errors import RecordError
from lineage.note import Verifier
from lineage.proof import prove
from lineage.reader import LogReader
from lineage.tiles import WIDTH, parse_tile_path

TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """What lies at a path. `final`: it never changes and may be cached for ever."""

    body: bytes
    media_type: str
    final: bool


def is_open(path: str) -> bool:
    """Say whether a path may be read without a reader token: checkpoint and public key tell no record's content."""
    return path in {"checkpoint", "vkey"}


def serve(reader: LogReader, verifier: Verifier, path: str) -> Answer | None:
    """Return what lies at `path`, or None when there is nothing (yet). LogUnavailable when the log cannot be read."""
    if path == "vkey":
        return Answer(f"{verifier}\n".encode(), TEXT, False)
    if path == "checkpoint":
        checkpoint = reader.checkpoint()
        return None if checkpoint is None else Answer(checkpoint, TEXT, False)
    if path.startswith("proof/"):
        return _proof(reader, path.removeprefix("proof/"))
    tile = parse_tile_path(path)
    data = None if tile is None else reader.at(tile)
    return None if data is None else Answer(data, BYTES, True)


def is_pruned(reader: LogReader, path: str) -> bool:
    """Say whether what would lie at `path` has records that were given up."""
    tile = parse_tile_path(path)
    return tile is not None and tile.level < 0 and tile.index * WIDTH < reader.control().pruned


def _proof(reader: LogReader, number: str) -> Answer | None:
    if not (number.isascii() and number.isdigit()) or len(number) > 18 or str(int(number)) != number:
        return None
    try:
        return Answer(prove(reader, int(number)).dump(), TEXT, False)
    except RecordError:
        return None
