"""What a log needs of a database: the contract that every store implementation keeps.

`LogSource` reads and may be used by any number of processes; `LogStore` writes and belongs to a log writer: the only
one of a data directory, and one of several where the database is shared by several machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol, Self

from lineage.control import ControlState, Row

SEARCH_LIMIT: Final = 1_000
"""Most records that one search returns."""


class Change(NamedTuple):
    """What control records of a batch change: `rows`, made from the state of `epoch`.

    The new epoch is the batch's first index and `ahead` more.
    """

    rows: Sequence[Row]
    epoch: int
    ahead: int


class Pulse(NamedTuple):
    """How far a log is: its number of records, and the epoch of its control state."""

    size: int
    epoch: int


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

    def append(self, known: int, records: Sequence[bytes], change: Change | None = None) -> Pulse | None:
        """Add records behind all that are there, and what they change of the control projection.

        Returns the index of the first, as `size`, and the epoch that was in force there. None, and nothing is written:
        there are fewer than `known` records, or the control state is of another epoch than the change was made from.
        """
        ...

    def pulse(self) -> Pulse:
        """Return how far the log is now; cheap."""
        ...

    def elect(self) -> bool:
        """Say whether this store may save checkpoints, and try to be elected where several could."""
        ...

    def bind(self, verifier: str) -> str:
        """Return the public key of the log's checkpoints; `verifier` from now on where it has none yet ("": none)."""
        ...

    def save_checkpoint(self, size: int, note: bytes, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """Keep a signed checkpoint and, by (level, index), the tiles that are new or longer since the one before.

        WriterPresent when another store was elected meanwhile.
        """
        ...

    def prune(self, start: int, before: int, limit: int) -> int:
        """Delete what is no control record among the first `limit` records in [start, before).

        Returns the index up to which that is done. Hashes and checkpoints stay.
        """
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
