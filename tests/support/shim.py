"""A library laid before the C library (`shim.c`): one system call of a process fails, or its wall clock jumps.

with shimmed(name="cordon-log.db", directory=data_dir) as shim:
    writer = start_writer(data_dir)             # whatever is started within is under it
    shim.arm("sync", 0, errno.EIO)              # the next fsync or fdatasync of such a file fails
    shim.jump(3_600)                            # all clocks go an hour ahead
"""

from __future__ import annotations

import functools
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.servers import find_binary

SOURCE: Final = Path(__file__).with_name("shim.c")
CALLS: Final = ("open", "write", "read", "sync", "truncate", "lock", "map", "unlink", "stat", "access")
"""The kinds of calls, as in the source: `write` is write and pwrite, `sync` is fsync and fdatasync, and so on."""
_CONTROL: Final = struct.Struct("=iiiiq")
_COUNTS: Final = struct.Struct(f"={len(CALLS)}i")
_OFFSET_AT: Final = 16


class Shim:
    """What the processes under the shim are told, through a file that they have mapped."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(mmap.PAGESIZE))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), mmap.PAGESIZE)
        self.disarm()

    def arm(self, call: str, nth: int, error: int) -> None:
        """Let the `nth` (from 0) call of this kind from now on fail with `error`, once."""
        offset = _CONTROL.unpack_from(self._memory)[4]
        _CONTROL.pack_into(self._memory, 0, CALLS.index(call), nth, error, 0, offset)

    def disarm(self) -> bool:
        """Let nothing fail; whether something did since it was armed."""
        *_, fired, offset = _CONTROL.unpack_from(self._memory)
        _CONTROL.pack_into(self._memory, 0, -1, 0, 0, 0, offset)
        return bool(fired)

    @property
    def fired(self) -> bool:
        """Whether the call that was armed has failed."""
        return bool(_CONTROL.unpack_from(self._memory)[3])

    def counts(self) -> dict[str, int]:
        """How many calls of each kind there were so far, on the files that are meant."""
        return dict(zip(CALLS, _COUNTS.unpack_from(self._memory, _CONTROL.size), strict=True))

    def jump(self, seconds: float) -> None:
        """Set the wall clock of all processes under the shim this far off the true one."""
        struct.pack_into("=q", self._memory, _OFFSET_AT, int(seconds * 1e9))

    def close(self) -> None:
        self._memory.close()


@functools.cache
def _library() -> Path:
    compiler = find_binary("gcc")
    if compiler is None:
        pytest.skip("gcc is not on this machine; `make servers` gets it")
    path = Path(tempfile.mkdtemp(prefix="cordon-shim-")) / "shim.so"
    command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", path, SOURCE, "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


@contextmanager
def shimmed(name: str = "", directory: Path | None = None) -> Iterator[Shim]:
    """Processes that are started within the block are under the shim; failing calls are those on files named so."""
    home = Path(tempfile.mkdtemp(prefix="cordon-shim-"))
    shim = Shim(home / "control")
    told = {
        "LD_PRELOAD": str(_library()),
        "SHIM_FILE": str(home / "control"),
        "SHIM_NAME": name,
        "SHIM_DIRECTORY": str(directory or ""),
    }
    before = {key: os.environ.get(key) for key in told}
    os.environ.update(told)
    try:
        yield shim
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        shim.close()
        shutil.rmtree(home, ignore_errors=True)
