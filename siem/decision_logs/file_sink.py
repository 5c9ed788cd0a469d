"""Events in a file, one JSON object a line; it is put aside as FILE.1, FILE.2 … when it has grown large.

A line is there whole or not at all: what a crash or a full disk cut off is taken away before the next is written.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lineage.paths import flush
from siem.decision_logs.settings import DecisionLog
from siem.decision_logs.sink import Entry, Undelivered

_BLOCK: Final = 65_536
FIRST: Final = b'{"labels":'
"""What every event begins with, so that no other file is taken for one of these."""


class FileSink:
    """Opens the file for each delivery, so that it may be moved away at any time."""

    def __init__(self, settings: DecisionLog) -> None:
        assert settings.file is not None
        self._path = settings.file
        self._largest = settings.max_file_mb << 20
        self._kept = settings.keep_files

    async def deliver(self, entries: Sequence[Entry]) -> int:
        """Write all of them, and have them on the disk."""
        try:
            await asyncio.to_thread(self._write, [entry.line for entry in entries])
        except OSError as error:
            raise Undelivered("file", f"{self._path}: {error.strerror}") from None
        return len(entries)

    def _write(self, lines: Sequence[bytes]) -> None:
        while lines:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            try:
                size = self._mended(file)
                count = self._fitting(lines, size)
                _append(file, size, b"".join(line + b"\n" for line in lines[:count]))
            finally:
                os.close(file)
            lines = lines[count:]
            if lines:
                self._put_aside()
        flush(self._path.parent)

    def _fitting(self, lines: Sequence[bytes], size: int) -> int:
        """How many of the lines still fit; one in any case into an empty file."""
        count = 0
        while count < len(lines):
            size += len(lines[count]) + 1
            if size > self._largest and (count or size > len(lines[count]) + 1):
                break
            count += 1
        return count

    def _mended(self, file: int) -> int:
        """The size of the file, after a line without an end was taken away; it has to be a file of such lines."""
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode):
            raise Undelivered("file", f"{self._path} is no file")
        if state.st_size == 0:
            return 0
        if not FIRST.startswith(os.pread(file, len(FIRST), 0)):
            raise Undelivered("file", f"{self._path} holds something else than decision logs; name another file")
        end = state.st_size
        while end:
            start = max(0, end - _BLOCK)
            found = os.pread(file, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < state.st_size:
            os.ftruncate(file, end)
        return end

    def _put_aside(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _append(file: int, size: int, data: bytes) -> None:
    """Write it behind the first `size` bytes, and have it on the disk; where that fails, the file is as it was."""
    os.lseek(file, size, os.SEEK_SET)
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise
