"""Key files: made once, for their owner only, never replaced silently."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lineage.errors import KeyFileError
from lineage.keys import load_log_keys, load_master_key, load_verifier, read_private, write_once
from lineage.paths import Paths


def test_the_first_start_makes_a_key_and_keeps_it(tmp_path: Path) -> None:
    keys = load_log_keys(tmp_path, "audit.example/log")
    assert keys.origin == keys.verifier.name == "audit.example/log"
    assert str(load_log_keys(tmp_path).verifier) == str(keys.verifier)
    assert load_verifier(tmp_path) == keys.verifier
    assert (Paths(tmp_path).keys / "origin").read_text() == "audit.example/log\n"
    assert Paths(tmp_path).keys.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in Paths(tmp_path).keys.iterdir()} == {0o600}


def test_without_a_configured_name_a_fresh_one_is_made(tmp_path: Path) -> None:
    one, other = load_log_keys(tmp_path / "a"), load_log_keys(tmp_path / "b")
    assert one.origin.startswith("cordon/")
    assert one.origin != other.origin
    assert load_log_keys(tmp_path / "a").origin == one.origin


def test_a_log_keeps_its_name(tmp_path: Path) -> None:
    load_log_keys(tmp_path, "first.example")
    with pytest.raises(KeyFileError, match=r"first\.example"):
        load_log_keys(tmp_path, "second.example")


@pytest.mark.parametrize("origin", ["a b", "a+b", "a\nb"])
def test_a_name_that_cannot_stand_in_a_checkpoint_is_refused(tmp_path: Path, origin: str) -> None:
    with pytest.raises(KeyFileError, match=r"lineage\.origin"):
        load_log_keys(tmp_path, origin)
    assert not Paths(tmp_path).keys.exists()


def test_a_missing_key_is_not_replaced_when_the_log_was_signed_with_it(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="restore"):
        load_log_keys(tmp_path, create=False)
    assert not (Paths(tmp_path).keys / "log.key").exists()


@pytest.mark.parametrize("name", ["log.key", "master.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    load_log_keys(tmp_path)
    load_master_key(tmp_path)
    (Paths(tmp_path).keys / name).chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_log_keys(tmp_path) if name == "log.key" else load_master_key(tmp_path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PRIVATE+KEY+x+00000000+AAAA", b"\xff\xfe"])
def test_a_damaged_signing_key_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    load_log_keys(tmp_path)
    (Paths(tmp_path).keys / "log.key").write_bytes(content)
    with pytest.raises(KeyFileError, match="restore it") as caught:
        load_log_keys(tmp_path)
    assert "AAAA" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", bytes(32), b"k" * 31, b"0123" * 8, b"k" * 33])
def test_an_empty_short_or_default_master_key_is_refused(tmp_path: Path, content: bytes) -> None:
    load_master_key(tmp_path)
    (Paths(tmp_path).keys / "master.key").write_bytes(content)
    with pytest.raises(KeyFileError, match="32 random bytes"):
        load_master_key(tmp_path)


def test_the_master_key_is_made_once(tmp_path: Path) -> None:
    key = load_master_key(tmp_path)
    assert len(key) == 32
    assert load_master_key(tmp_path) == key
    assert load_master_key(tmp_path / "other") != key


def test_processes_that_race_for_the_first_use_agree_on_one_key(tmp_path: Path) -> None:
    found: list[bytes] = []
    start = threading.Barrier(8)

    def use() -> None:
        start.wait()
        found.append(load_master_key(tmp_path))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in Paths(tmp_path).keys.iterdir()] == ["master.key"]


def test_a_file_written_once_stays_as_it_is(tmp_path: Path) -> None:
    write_once(tmp_path / "f", b"first")
    write_once(tmp_path / "f", b"second")
    assert read_private(tmp_path / "f") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_missing_verifier_says_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cordon up"):
        load_verifier(tmp_path)
