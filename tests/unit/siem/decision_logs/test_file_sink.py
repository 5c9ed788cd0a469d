"""Files of decision logs: whole lines, put aside by size, and never another program's file."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from siem.decision_logs import file_sink
from siem.decision_logs.file_sink import FileSink
from siem.decision_logs.settings import DecisionLog
from siem.decision_logs.sink import Entry, Undelivered


def sink(file: Path, **options: Any) -> FileSink:
    return FileSink(DecisionLog(id="file", file=file, **options))


def write(to: FileSink, *texts: bytes) -> None:
    assert asyncio.run(to.deliver([Entry(n, text) for n, text in enumerate(texts)])) == len(texts)


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "log"
    write(sink(file), b'{"a":1}')
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [b'{"half', b'{"' + b"x" * 200_000])
def test_what_a_crash_cut_off_is_taken_away(tmp_path: Path, cut: bytes) -> None:
    file = tmp_path / "log"
    file.write_bytes(b'{"a":1}\n' + cut)
    write(sink(file), b'{"b":2}')
    assert file.read_bytes() == b'{"a":1}\n{"b":2}\n'
    file.write_bytes(cut)
    write(sink(file), b'{"b":2}')
    assert file.read_bytes() == b'{"b":2}\n'


def test_it_is_put_aside_when_it_is_full_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "log"
    small = sink(file, keep_files=2)
    monkeypatch.setattr(small, "_largest", 20)
    write(small, *(b'{"n":%d}' % n for n in range(9)))
    assert file.read_bytes() == b'{"n":8}\n'
    assert (tmp_path / "log.1").read_bytes() == b'{"n":6}\n{"n":7}\n'
    assert (tmp_path / "log.2").read_bytes() == b'{"n":4}\n{"n":5}\n'
    assert not (tmp_path / "log.3").exists()
    write(small, b'{"large":"%s"}' % (b"x" * 50))
    assert file.read_bytes().startswith(b'{"large"')


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"SQLite format 3\0 no end of line")
    with pytest.raises(Undelivered) as error:
        write(sink(file), b"{}")
    assert error.value.reason == "file" and "something else" in str(error.value)
    assert file.read_bytes() == b"SQLite format 3\0 no end of line"


def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        with pytest.raises(Undelivered):
            write(sink(tmp_path / name), b"{}")
    assert not (tmp_path / "target").exists()


def test_a_full_disk_leaves_whole_lines_once_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "log"
    real = os.write
    room = 12

    def full(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[:room])
        room -= written
        return written

    write(sink(file), b'{"a":1}')
    monkeypatch.setattr(file_sink.os, "write", full)
    with pytest.raises(Undelivered, match="No space left"):
        write(sink(file), b'{"b":2}', b'{"c":3}')
    room = 100
    write(sink(file), b'{"b":2}', b'{"c":3}')
    assert file.read_bytes() == b'{"a":1}\n{"b":2}\n{"c":3}\n'
