"""A changed bundle is taken up while calls go on; a bad one leaves the one before in force and is told once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from policies import reloading
from policies.admission import Admission, admit_now
from policies.bundle import Bundle, make_bundle
from policies.engine import Moment, PolicyEngine
from policies.errors import BundleError, Problem
from policies.reloading import Reloader
from policies.settings import Policy, Verification
from tests.support.bundles import CONTENT, write_keys
from tests.support.policies import MINIMAL, write

DENIES = 'package cordon.request\n\ndecision := {"allow": false}\n'
BROKEN = "package cordon.request\n\ndecision := {\n"
FORBIDDEN = 'package cordon.request\n\ndecision := {"allow": true} if http.send({})\n'


@dataclass
class Watched:
    """A reloader over a folder, and what it told."""

    folder: Path
    run_dir: Path
    loaded: list[str] = field(default_factory=list)
    rejected: list[Sequence[Problem]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.changed = asyncio.Event()
        policy = Policy(bundle=self.folder, reload_seconds=0.02)
        self.reloader = Reloader(policy, self.run_dir, on_loaded=self._on_loaded, on_rejected=self._on_rejected)

    def _on_loaded(self, engine: PolicyEngine) -> None:
        self.loaded.append(engine.revision)
        self.changed.set()

    def _on_rejected(self, problems: Sequence[Problem]) -> None:
        self.rejected.append(problems)
        self.changed.set()

    async def allows(self) -> bool:
        return (await self.reloader.engine.decide(Moment.REQUEST, b"{}")).allow

    def close(self) -> None:
        """Let go of the engine in the thread that made it, rather than in whichever one collects garbage."""
        self.reloader.close()
        del self.reloader

    async def after(self, change: Callable[[], object]) -> None:
        """Make a change and wait until it was loaded or rejected."""
        self.changed.clear()
        change()
        async with asyncio.timeout(10):
            await self.changed.wait()


@contextlib.asynccontextmanager
async def watching(tmp_path: Path) -> AsyncIterator[Watched]:
    watched = Watched(write(tmp_path / "bundle"), tmp_path / "run")
    await watched.reloader.start()
    running = asyncio.create_task(watched.reloader.run())
    try:
        yield watched
    finally:
        assert not running.done()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        watched.close()


def test_a_changed_bundle_is_taken_up(tmp_path: Path) -> None:
    async def scene() -> None:
        async with watching(tmp_path) as watched:
            assert await watched.allows()
            await watched.after(lambda: write(watched.folder, {"request.rego": DENIES}))
            assert not await watched.allows()
            assert len(set(watched.loaded)) == 2
            assert watched.loaded[-1] == watched.reloader.engine.revision
            assert watched.rejected == []

    asyncio.run(scene())


@pytest.mark.parametrize(("bad", "code"), [(BROKEN, "parse"), (FORBIDDEN, "builtin"), ("", "parse")])
def test_a_bad_one_leaves_the_one_before(tmp_path: Path, bad: str, code: str) -> None:
    async def scene() -> None:
        async with watching(tmp_path) as watched:
            engine = watched.reloader.engine
            await watched.after(lambda: write(watched.folder, {"request.rego": bad}))
            assert watched.reloader.engine is engine
            assert await watched.allows()
            assert len(watched.loaded) == 1
            assert [problem.file for problem in watched.rejected[0]] == ["request.rego"]
            assert watched.rejected[0][0].code == code

    asyncio.run(scene())


def test_a_bad_one_is_told_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with watching(tmp_path) as watched:
            await watched.after(lambda: write(watched.folder, {"request.rego": BROKEN}))
            examined = watched.reloader._seen
            (watched.folder / "request.rego").write_text(BROKEN)  # the same fault again, in a file of another time
            async with asyncio.timeout(10):
                while watched.reloader._seen == examined:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert len(watched.rejected) == 1
            await watched.after(lambda: write(watched.folder, {"response.rego": BROKEN}))
            assert len(watched.rejected) == 2

    asyncio.run(scene())


def test_a_repaired_one_is_taken_up(tmp_path: Path) -> None:
    async def scene() -> None:
        async with watching(tmp_path) as watched:
            await watched.after(lambda: write(watched.folder, {"request.rego": BROKEN}))
            await watched.after(lambda: write(watched.folder, {"request.rego": DENIES}))
            assert not await watched.allows()
            assert len(watched.rejected) == 1
            await watched.after(lambda: write(watched.folder, {"request.rego": BROKEN}))
            assert len(watched.rejected) == 2

    asyncio.run(scene())


def test_a_bundle_that_is_put_back_as_it_was_is_no_change(tmp_path: Path) -> None:
    async def scene() -> None:
        async with watching(tmp_path) as watched:
            engine = watched.reloader.engine
            await watched.after(lambda: write(watched.folder, {"request.rego": BROKEN}))
            seen = watched.reloader._seen
            write(watched.folder)
            async with asyncio.timeout(10):
                while watched.reloader._seen == seen:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert watched.reloader.engine is engine
            assert len(watched.loaded) == 1
            assert await watched.allows()

    asyncio.run(scene())


def test_a_folder_that_vanishes_leaves_the_one_before(tmp_path: Path) -> None:
    async def scene() -> None:
        async with watching(tmp_path) as watched:
            await watched.after(lambda: watched.folder.rename(tmp_path / "elsewhere"))
            assert watched.rejected[0][0].code == "missing"
            assert await watched.allows()
            write(tmp_path / "elsewhere", {"request.rego": DENIES})
            await watched.after(lambda: (tmp_path / "elsewhere").rename(watched.folder))
            assert not await watched.allows()

    asyncio.run(scene())


def test_a_link_that_is_turned_to_another_bundle_is_taken_up(tmp_path: Path) -> None:
    async def scene() -> None:
        write(tmp_path / "v1")
        write(tmp_path / "v2", MINIMAL | {"request.rego": DENIES})
        (tmp_path / "current").symlink_to("v1")
        watched = Watched(tmp_path / "current", tmp_path / "run")
        await watched.reloader.start()
        running = asyncio.create_task(watched.reloader.run())
        (tmp_path / "next").symlink_to("v2")
        await watched.after(lambda: (tmp_path / "next").replace(tmp_path / "current"))
        assert not await watched.allows()
        running.cancel()
        watched.close()

    asyncio.run(scene())


def test_links_in_a_circle_do_not_end_the_watch(tmp_path: Path) -> None:
    async def scene() -> None:
        async with watching(tmp_path) as watched:
            await watched.after(lambda: (watched.folder / "loop.rego").symlink_to("loop.rego"))
            assert watched.rejected[0][0].file == "loop.rego"
            (watched.folder / "loop.rego").unlink()
            await watched.after(lambda: write(watched.folder, {"request.rego": DENIES}))
            assert not await watched.allows()

    asyncio.run(scene())


@pytest.mark.parametrize("files", [{}, {"request.rego": BROKEN}, {"request.rego": MINIMAL["request.rego"]}])
def test_a_bad_first_bundle_is_an_error(tmp_path: Path, files: dict[str, str]) -> None:
    async def scene() -> None:
        (tmp_path / "bundle").mkdir()
        watched = Watched(write(tmp_path / "bundle", files), tmp_path / "run")
        with pytest.raises(BundleError):
            await watched.reloader.start()
        assert watched.loaded == []

    asyncio.run(scene())


def test_a_verdict_is_remembered_by_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_: Bundle, __: Policy) -> Admission:
        raise AssertionError("it is examined again")

    async def scene() -> None:
        folder = write(tmp_path / "bundle")
        first = Watched(folder, tmp_path / "run")
        await first.reloader.start()
        monkeypatch.setattr(reloading, "admit_now", never)
        second = Watched(folder, tmp_path / "run")
        await second.reloader.start()
        assert second.loaded == first.loaded
        assert second.reloader.engine.request_reads == first.reloader.engine.request_reads == frozenset()
        assert await second.allows()
        first.close()
        second.close()

    asyncio.run(scene())


def test_a_machine_that_cannot_examine_now_tries_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = admit_now
    failures = 2

    def failing(bundle: Bundle, settings: Policy) -> Admission:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(11, "Resource temporarily unavailable")
        return real(bundle, settings)

    async def scene() -> None:
        async with watching(tmp_path) as watched:
            monkeypatch.setattr(reloading, "admit_now", failing)
            await watched.after(lambda: write(watched.folder, {"request.rego": DENIES}))
            assert watched.rejected[0][0].code == "machine"
            assert await watched.allows()
            await watched.after(lambda: None)
            assert not await watched.allows()
            assert len(watched.rejected) == 1

    asyncio.run(scene())


def test_started_again_beside_a_refused_bundle_it_goes_on_with_the_one_before(tmp_path: Path) -> None:
    async def scene() -> None:
        async with watching(tmp_path) as watched:
            before = watched.reloader.engine.revision
            await watched.after(lambda: write(watched.folder, {"request.rego": BROKEN}))
            again = Watched(watched.folder, watched.run_dir)
            await again.reloader.start()
            assert again.reloader.engine.revision == before
            assert await again.allows()
            assert len(again.rejected) == 1

    asyncio.run(scene())


def test_a_first_start_on_a_refused_bundle_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        watched = Watched(write(tmp_path / "bundle", {"request.rego": BROKEN}), tmp_path / "run")
        with pytest.raises(BundleError):
            await watched.reloader.start()

    asyncio.run(scene())


# A bundle on a server


class Held:
    """A source that holds a bundle, or none because its server is away."""

    def __init__(self) -> None:
        self.bundle: Bundle | None = None

    async def open(self) -> None:
        """Nothing is held open."""

    async def look(self) -> object:
        return self.bundle and self.bundle.digest

    async def load(self, *, fresh: bool = False) -> Bundle:
        if self.bundle is None:
            raise BundleError([Problem("https://x/y", 0, 0, "download", "could not be downloaded")])
        return self.bundle

    async def run(self) -> None:
        await asyncio.Event().wait()


def test_without_its_server_the_first_start_fails_and_a_later_one_goes_on_with_the_last_good_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, public = write_keys(tmp_path)
    told: list[Sequence[Problem]] = []
    loaded: list[str] = []

    def reloader(source: Held) -> Reloader:
        settings = Policy(bundle="https://x/y", verification=Verification(key=public), reload_seconds=0.02)
        return Reloader(
            settings, tmp_path / "run", source=source, on_rejected=told.append,
            on_loaded=lambda engine: loaded.append(engine.revision),
        )  # fmt: skip

    async def scene() -> None:
        source = Held()
        with pytest.raises(BundleError, match="could not be downloaded"):
            await reloader(source).start()
        source.bundle = make_bundle(CONTENT)
        first = reloader(source)
        await first.start()
        first.close()
        monkeypatch.setattr("os.getppid", lambda: 1)  # all of Cordon was started again
        source.bundle = None
        second = reloader(source)
        await second.start()
        assert second.engine.revision == loaded[0]
        assert [problems[0].code for problems in told] == ["download"]
        second.close()
        public.write_bytes(write_keys(tmp_path, "EdDSA", "other")[1].read_bytes())
        with pytest.raises(BundleError, match="could not be downloaded"):
            await reloader(source).start()

    asyncio.run(scene())
