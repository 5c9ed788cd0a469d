"""Disks that are small, for what happens when they are full or cannot be written to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.logs import data_directory


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of its own with little room, mounted for the time of a test."""
    with data_directory() as path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", path], check=True)
        try:
            yield path
        finally:
            subprocess.run(["umount", "-l", path], check=True)


def remount(path: Path, how: str) -> None:
    """Make such a disk read-only (`ro`) or writable again (`rw`)."""
    subprocess.run(["mount", "-o", f"remount,{how}", path], check=True)


@contextmanager
def filled(path: Path) -> Iterator[None]:
    """The disk that `path` is on has no room for a while."""
    ballast = path / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 4_096):
                pass
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()
