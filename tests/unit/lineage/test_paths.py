"""Where files lie, and that they are made for their owner only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lineage.errors import LogUnavailable
from lineage.paths import Paths, make_private, make_private_file


def test_asking_for_a_path_makes_nothing(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "var")
    places = (paths.log, paths.side, paths.keys, paths.run, paths.socket, paths.lock, paths.metrics)
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(tmp_path / "var") for place in places)
    assert not (tmp_path / "var").exists()


def test_a_private_directory_is_for_its_owner_only_even_when_it_was_open(tmp_path: Path) -> None:
    make_private(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    make_private(tmp_path / "open")
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o700


def test_a_private_file_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_private_file(tmp_path / "new" / "file")
    finally:
        os.umask(before)
    assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    make_private_file(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    with pytest.raises(LogUnavailable, match="file/under"):
        make_private(tmp_path / "file" / "under")
    with pytest.raises(LogUnavailable, match="directory"):
        make_private_file(tmp_path / "directory")
