"""The bundle store on a disk that is full or read-only: nothing is proposed by halves, and it goes on afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lineage.bundles import BundleStore
from lineage.side_place import SidePlace
from tests.support.cli import Installation, Result
from tests.support.disks import filled, remount, small_disk
from tests.support.policies import MINIMAL, write


@pytest.fixture
def disk() -> Iterator[Path]:
    with small_disk(8) as path:
        yield path


@pytest.fixture
def cordon(disk: Path, tmp_path: Path) -> Installation:
    """Its data are on the small disk, where one bundle was proposed already."""
    made = Installation(tmp_path)
    made.file.write_text(made.file.read_text().replace("data_dir: var", f"data_dir: {disk}/var"))
    assert propose(made, bundle(tmp_path / "first")).code == 0
    return made


def bundle(folder: Path, size: int = 0) -> Path:
    return write(folder, MINIMAL | {"data.json": f'{{"note": "{"x" * size}"}}'})


def propose(cordon: Installation, folder: Path) -> Result:
    return cordon("policy", "propose", str(folder), "--json")


def listed(cordon: Installation) -> list[Any]:
    return list(cordon("policy", "bundles", "--json").json)


def assert_whole(cordon: Installation, disk: Path, count: int) -> None:
    """So many roll-outs are known, each with its archive, and the log verifies."""
    rows = listed(cordon)
    assert len(rows) == count
    with closing(SidePlace(disk / "var").side()) as side:
        assert all(BundleStore(side).get(row["digest"]) for row in rows)
    assert cordon("log", "verify").code == 0


def test_on_a_full_disk_no_bundle_is_proposed_and_later_it_is(cordon: Installation, disk: Path, tmp_path: Path) -> None:
    second = bundle(tmp_path / "second", 200_000)
    with filled(disk):
        result = propose(cordon, second)
        assert result.code == 1
        assert "full" in result.err or "No space left" in result.err
        assert "Traceback" not in result.err and str(disk) not in result.err
    assert_whole(cordon, disk, 1)
    assert propose(cordon, second).code == 0
    assert_whole(cordon, disk, 2)


def test_on_a_read_only_disk_no_bundle_is_proposed_and_later_it_is(
    cordon: Installation, disk: Path, tmp_path: Path
) -> None:
    second = bundle(tmp_path / "second", 200_000)
    remount(disk, "ro")
    result = propose(cordon, second)
    remount(disk, "rw")
    assert result.code == 1
    assert "ead-only file system" in result.err and "Traceback" not in result.err
    assert_whole(cordon, disk, 1)
    assert propose(cordon, second).code == 0
    assert_whole(cordon, disk, 2)
