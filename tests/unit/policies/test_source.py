"""A folder or an archive on this machine as the source of the bundle: what changes is seen, what is refused is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.errors import BundleError, PolicyError
from policies.settings import Policy, Verification
from policies.signatures import SIGNATURES, sign
from policies.source import LocalSource
from policies.tarball import pack
from tests.support.bundles import CONTENT, signed, write_keys
from tests.support.policies import write


def test_a_url_is_no_local_source() -> None:
    with pytest.raises(PolicyError, match="downloads"):
        LocalSource(Policy(bundle="https://bundles.example/cordon.tar.gz"))


def test_an_archive_is_read_as_it_lies_there_now(tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar.gz"
    archive.write_bytes(pack(CONTENT))
    source = LocalSource(Policy(bundle=archive))

    async def play() -> None:
        await source.open()
        before = await source.look()
        assert set((await source.load()).modules) == set(CONTENT)
        assert await source.look() == before
        archive.write_bytes(pack({**CONTENT, "more.rego": b"package more\n"}))
        assert await source.look() != before
        assert "more.rego" in (await source.load(fresh=True)).modules
        archive.unlink()
        with pytest.raises(BundleError, match="no such folder or archive"):
            await source.load()

    asyncio.run(play())


def test_whatever_may_change_the_verdict_on_a_signed_folder_is_another_mark(tmp_path: Path) -> None:
    folder = write(tmp_path / "policies")
    private, public = write_keys(tmp_path)
    (folder / SIGNATURES).write_bytes(sign(CONTENT, private))
    source = LocalSource(Policy(bundle=folder, verification=Verification(key=public)))
    changes: list[tuple[Callable[[], object], str]] = [
        ((folder / "README").touch, "README: is not listed"),
        ((folder / "README").unlink, ""),
        (lambda: (folder / SIGNATURES).write_bytes(b"{}"), "not exactly one signature"),
        (lambda: (folder / SIGNATURES).write_bytes(sign(CONTENT, private, scope="x")), "scope is not empty"),
        (lambda: (folder / SIGNATURES).write_bytes(sign(CONTENT, private)), ""),
        (lambda: public.write_bytes(b"junk"), "nothing can be verified"),
        (public.unlink, "nothing can be verified"),
    ]

    async def play() -> None:
        mark = await source.look()
        for change, said in changes:
            change()
            before, mark = mark, await source.look()
            assert mark != before
            if said:
                with pytest.raises(BundleError, match=said):
                    await source.load()
            else:
                assert (await source.load()).modules

    asyncio.run(play())


def test_files_of_no_account_are_not_looked_at_without_a_key(tmp_path: Path) -> None:
    folder = write(tmp_path / "policies")
    source = LocalSource(Policy(bundle=folder))

    async def play() -> None:
        before = await source.look()
        (folder / "README").touch()
        (folder / SIGNATURES).write_text("junk")
        assert await source.look() == before
        assert (await source.load()).modules

    asyncio.run(play())


def test_verified_bytes_are_those_that_are_served(tmp_path: Path) -> None:
    archive = tmp_path / "bundle.tar.gz"
    private, public = write_keys(tmp_path)
    archive.write_bytes(pack(signed({**CONTENT, "README": b"hello", ".ci/notes": b""}, private)))
    found = asyncio.run(LocalSource(Policy(bundle=archive, verification=Verification(key=public))).load())
    plain = asyncio.run(LocalSource(Policy(bundle=write(tmp_path / "policies"))).load())
    assert found.digest == plain.digest
