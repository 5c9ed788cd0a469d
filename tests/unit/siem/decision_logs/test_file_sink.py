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
    write(sink(file), b'{"labels":1}')
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [b'{"labels":{"half', b'{"labels":"' + b"x" * 200_000])
def test_what_a_crash_cut_off_is_taken_away(tmp_path: Path, cut: bytes) -> None:
    file = tmp_path / "log"
    file.write_bytes(b'{"labels":1}\n' + cut)
    write(sink(file), b'{"labels":2}')
    assert file.read_bytes() == b'{"labels":1}\n{"labels":2}\n'
    file.write_bytes(cut)
    write(sink(file), b'{"labels":2}')
    assert file.read_bytes() == b'{"labels":2}\n'


def test_it_is_put_aside_when_it_is_full_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "log"
    small = sink(file, keep_files=2)
    monkeypatch.setattr(small, "_largest", 30)
    write(small, *(b'{"labels":%d}' % n for n in range(9)))
    assert file.read_bytes() == b'{"labels":8}\n'
    assert (tmp_path / "log.1").read_bytes() == b'{"labels":6}\n{"labels":7}\n'
    assert (tmp_path / "log.2").read_bytes() == b'{"labels":4}\n{"labels":5}\n'
    assert not (tmp_path / "log.3").exists()
    write(small, b'{"labels":"%s"}' % (b"x" * 50))
    assert file.read_bytes().startswith(b'{"labels":"x')


@pytest.mark.parametrize("content", [b"SQLite format 3\0 no end of line", b'{"keys": 1}', b"\n", b'{"lx'])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "log"
    file.write_bytes(content)
    with pytest.raises(Undelivered) as error:
        write(sink(file), b'{"labels":1}')
    assert error.value.reason == "file" and "something else" in str(error.value)
    assert file.read_bytes() == content


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
    room = 18

    def full(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        written = real(descriptor, data[:room])
        room -= written
        return written

    write(sink(file), b'{"labels":1}')
    monkeypatch.setattr(file_sink.os, "write", full)
    with pytest.raises(Undelivered, match="No space left"):
        write(sink(file), b'{"labels":2}', b'{"labels":3}')
    room = 100
    write(sink(file), b'{"labels":2}', b'{"labels":3}')
    assert file.read_bytes() == b'{"labels":1}\n{"labels":2}\n{"labels":3}\n'
