"""What a log needs of a database: the contract that every store implementation keeps.

`LogSource` reads and may be used by any number of processes; `LogStore` writes and belongs to the one log writer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, Self

from lineage.control import ControlState, Row

SEARCH_LIMIT: Final = 1_000
"""Most records that one search returns."""


class LogSource(Protocol):
    """Read access. Each call is one short transaction and sees only what is durable; LogUnavailable when it fails."""

    def size(self) -> int:
        """Return how many records there are; their indexes are 0 to size - 1."""
        ...

    def read(self, start: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` records from index `start` on, in order, with their indexes."""
        ...

    def checkpoint(self) -> tuple[int, bytes] | None:
        """Return the latest checkpoint as (size, signed note), or None when there is none yet."""
        ...

    def checkpoints(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` checkpoints of a size greater than `after`, smallest first."""
        ...

    def stored_tile(self, level: int, index: int) -> bytes | None:
        """Return the tile as of the latest checkpoint, unfinished perhaps, or None."""
        ...

    def stored_tiles(self, level: int) -> tuple[int, int]:
        """Return how many tiles of a level are stored, and how many of them have an index below that number."""
        ...

    def levels(self) -> int:
        """Return one more than the highest level of which a tile is stored; 0 without tiles."""
        ...

    def control(self) -> ControlState:
        """Return the projection of the control records, as stored with the last of them."""
        ...

    def search(self, needle: bytes, start: int, end: int) -> list[tuple[int, bytes]]:
        """Return the records in [start, end) whose bytes contain `needle`, in order, at most `SEARCH_LIMIT`."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class LogStore(LogSource, Protocol):
    """Write access. When a call returns, all of it is on the disk; when it raises LogUnavailable, none of it is."""

    def append(self, first: int, records: Sequence[bytes], control: Sequence[Row] = (), epoch: int = 0) -> None:
        """Add records at the indexes from `first` on, and the changes of the control projection that they make."""
        ...

    def save_checkpoint(self, size: int, note: bytes, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """Keep a signed checkpoint and, by (level, index), the tiles that are new or longer since the one before."""
        ...

    def check(self) -> None:
        """Raise LogUnavailable where what is written now would be lost, as in a file that was deleted. Cheap."""
        ...

    def reopen(self) -> Self:
        """Let go of the database and return a new store in place of this one; LogUnavailable when that fails."""
        ...

    @property
    def untidy(self) -> bool:
        """Whether housekeeping is due; cheap."""
        ...

    def tidy(self) -> None:
        """Do the housekeeping that is due; called between commits. LogUnavailable costs nothing but the attempt."""
        ...
