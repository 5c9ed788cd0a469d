"""Verification of a whole log: everything is built again from the records alone, and compared.

It reads in short transactions, so a log in use can be verified; it speaks of the records that were there when it
began. The single checks are in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from lineage.checks import CallsCheck, ControlCheck, RecordsCheck, SideCheck, SinceCheck, TreeCheck
from lineage.errors import LogUnavailable, VerificationError
from lineage.note import Verifier, open_checkpoint
from lineage.reader import LogReader
from lineage.report import MAX_SHOWN, Report
from lineage.side import SideStore
from lineage.store import LogSource

_CHUNK: Final = 1_000


def verify(
    reader: LogReader,
    keys: Sequence[Verifier],
    since: bytes | None = None,
    side: SideStore | None = None,
    progress: Callable[[int], object] = lambda _records: None,
) -> Report:
    """Verify the log that `reader` reads against its public `keys`, and return what was checked and found.

    `since` is an older checkpoint of this log, held outside of it: with it, the log must still begin with what that
    checkpoint covered. `side` has the blobs beside the log checked too. `progress` is told how many more records were
    checked, now and then. Raises LogUnavailable only when the log
    cannot be opened or read at all; damage inside it is a finding.
    """
    return _Run(reader.source, keys, since, side).report(progress)


class _Run:
    def __init__(
        self, source: LogSource, keys: Sequence[Verifier], since: bytes | None, side: SideStore | None
    ) -> None:
        self._source = source
        latest = source.checkpoint()
        self._covered = 0 if latest is None else latest[0]
        self._size = source.size()
        self._records = RecordsCheck()
        self._tree = TreeCheck(source, keys, self._covered)
        self._keys = keys
        self.pruned = 0
        self._gone = 0
        self._calls = CallsCheck()
        self._control = ControlCheck()
        self._since = None if since is None else SinceCheck(since, keys)
        self._side = None if side is None else SideCheck(side)

    def report(self, progress: Callable[[int], object]) -> Report:
        try:
            self._feed(progress)
            self._tree.finish(self._size)
            self._control.finish(self._source, self._size)
            self._explain()
        except LogUnavailable as error:
            self._records.check.fault(f"reading broke off after {self._records.check.checked} records: {error}")
        if self._since is not None:
            self._since.finish()
        checks = [self._records.check, *self._tree.checks, self._calls.check, self._control.check]
        checks += [part.check for part in (self._since, self._side) if part is not None]
        calls = self._calls
        dangling = sorted(calls.open)
        return Report(
            size=self._size,
            covered=self._covered,
            checks=checks,
            dangling=len(dangling),
            dangling_shown=dangling[:MAX_SHOWN],
            lost=calls.lost,
            pruned=self.pruned,
            unchecked=self._unchecked(),
        )

    def _feed(self, progress: Callable[[int], object]) -> None:
        for index, data in self._stored():
            if index % _CHUNK == _CHUNK - 1:
                progress(_CHUNK)
            record = None
            if data is not None:
                record = self._records.feed(index, data)
                self._tree.feed(data)
            if self._since is not None:
                self._since.feed(self._tree.tree)
            if data is not None and record is not None:
                self._calls.feed(index, record)
                self._control.feed(index, data, record)
                if self._side is not None:
                    self._side.feed(index, record)

    def _stored(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield the records with the indexes that they should have, None for those that were pruned.

        Any other hole is a fault, as is a doubled index.
        """
        expected = 0
        while expected < self._size:
            read = self._source.read(expected, min(_CHUNK, self._size - expected))
            rows: list[tuple[int, bytes | None]] = [row for row in read if row[0] < self._size]
            for index, data in rows or [(self._size, None)]:
                if index < expected:
                    self._records.check.fault(f"record {index} is there twice")
                yield from self._hole(expected, index)
                if data is not None:
                    yield index, data
                expected = index + 1

    def _hole(self, start: int, end: int) -> Iterator[tuple[int, None]]:
        """Go over [start, end), where no records are, by their stored hashes as far as they were given up.

        The stored control state is taken at its word here; it is compared with the records at the end.
        """
        if end > self._calls.pruned:  # A log in use may have begun to prune meanwhile.
            self._calls.pruned = min(_pruned(self._source), self._covered)
        for index in range(start, end):
            if index >= self._calls.pruned or not self._tree.feed_pruned(index):
                self._records.check.fault(f"records {index} to {end - 1} are missing")
                return
            self.pruned += 1
            self._gone = index + 1
            yield index, None

    def _explain(self) -> None:
        """Demand a record under a checkpoint for all that is missing: it was signed before anything was deleted."""
        signed = self._covered
        latest = self._source.checkpoint()
        with suppress(VerificationError):  # The newest one of a log in use, which may have begun to prune meanwhile.
            signed = max(signed, open_checkpoint(latest[1], self._keys).size if latest else 0)
        explained = self._control.given_up(signed)
        if self._gone > explained:
            text = f"records below {self._gone} are missing, and no log.pruned record under a checkpoint gives them up"
            self._records.check.fault(text)

    def _unchecked(self) -> list[str]:
        texts = []
        if self.pruned:
            texts.append(
                f"what {self.pruned} records said that were pruned, below index {self._gone}; their hashes fit"
            )
        if self._size > self._covered:
            texts.append(f"{self._size - self._covered} records that no checkpoint covers yet could still be changed")
        if self._since is None:
            texts.append("whether the whole log was replaced or cut: give a checkpoint held outside (--since)")
        if self._side is None:
            texts.append("the blobs beside the log")
        elif self._side.gone:
            texts.append(f"{self._side.gone} blobs beside the log that are no longer there")
        return texts


def _pruned(source: LogSource) -> int:
    try:
        return source.control().pruned
    except LogUnavailable:
        return 0
