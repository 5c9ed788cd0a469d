"""What a worker makes of a bundle server's answers, good and bad; the server is a script that is asked in turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from lineage.metrics import Meter
from policies import download
from policies.download import LONG_POLL_TYPE, DownloadedSource, DownloadError, Fetched
from policies.errors import BundleError
from policies.settings import Download, Policy, Verification
from policies.tarball import MAX_BUNDLE, pack
from tests.support.bundles import CONTENT, signed, write_keys

URL = "https://bundles.example/cordon.tar.gz"
OTHER = {**CONTENT, "more.rego": b"package more\n"}
GZIP = "application/gzip"


def answer(files: dict[str, bytes], etag: str = '"1"', kind: str = GZIP) -> Fetched:
    return Fetched(200, etag, kind, pack(files))


def status(code: int) -> Fetched:
    return Fetched(code, "", "", b"")


class Script:
    """A fetcher that gives these answers, each once, and then none any more."""

    def __init__(self, *answers: Fetched | DownloadError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []
        self.done = asyncio.Event()

    async def fetch(self, etag: str, wait: int, limit: int) -> Fetched:
        assert limit == MAX_BUNDLE
        self.asked.append((etag, wait))
        await asyncio.sleep(0)
        if not self.answers:
            self.done.set()
            await asyncio.Event().wait()
        found = self.answers.pop(0)
        if isinstance(found, DownloadError):
            raise found
        return found


class Looked:
    """A source over such a script."""

    def __init__(
        self, *answers: Fetched | DownloadError, verification: Verification | None = None, **options: object
    ) -> None:
        self.script = Script(*answers)
        self.meter = Meter("test")
        settings = Policy(
            bundle=URL, verification=verification, download=Download.model_validate(options), reload_seconds=0.01
        )
        self.source = DownloadedSource(settings, self.script, self.meter)

    async def problem(self) -> str:
        with pytest.raises(BundleError) as caught:
            await self.source.load()
        return str(caught.value)

    def counted(self) -> dict[str, float]:
        found = {how: self.meter.counter("cordon_policy_downloads_total", how).value for how in download.RESULTS}
        return {how: count for how, count in found.items() if count}

    @property
    def up(self) -> float:
        return self.meter.gauge("cordon_policy_download_up").value


def test_a_bundle_is_downloaded_and_asked_for_by_its_etag() -> None:
    async def play() -> None:
        looked = Looked(answer(CONTENT), status(304), answer(OTHER, '"2"'), answer(OTHER, '"3"'))
        await looked.source.open()
        first = await looked.source.look()
        assert (await looked.source.load()).label == "cordon.tar.gz"
        await looked.source.load(fresh=True)
        assert await looked.source.look() == first
        assert "more.rego" in (await looked.source.load(fresh=True)).modules
        second = await looked.source.look()
        assert second != first
        await looked.source.load(fresh=True)
        assert await looked.source.look() == second
        assert looked.script.asked == [("", 0), ('"1"', 0), ('"1"', 0), ('"2"', 0)]
        assert looked.counted() == {"new": 2, "unchanged": 2}
        assert looked.up == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (status(500), "the server answered 500"),
        (status(404), "the server answered 404"),
        (status(206), "the server answered 206"),
        (status(204), "the server answered 204"),
        (status(304), "the server answered 304"),
        (status(302), "points elsewhere (302), which is not followed"),
        (status(401), "refused Cordon itself (401); see policy.download.credential"),
        (status(403), "refused Cordon itself (403); see policy.download.credential"),
        (DownloadError("it is gone"), "could not be downloaded: it is gone"),
    ],
)
def test_without_an_answer_there_is_no_bundle_at_first_and_the_one_before_later(
    bad: Fetched | DownloadError, said: str
) -> None:
    async def play() -> None:
        looked = Looked(bad, answer(CONTENT), bad, answer(CONTENT))
        await looked.source.open()
        assert said in await looked.problem()
        assert looked.up == 0
        told = await looked.source.look()
        assert (await looked.source.load(fresh=True)).modules
        assert looked.up == 1
        good = await looked.source.look()
        assert good != told
        if bad == status(304):
            return
        with pytest.raises(BundleError, match="could not be downloaded"):
            await looked.source.load(fresh=True)
        assert await looked.source.look() != good
        assert (await looked.source.load(fresh=True)).modules
        assert await looked.source.look() == good

    asyncio.run(play())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the archive is cut off"),
        (b"<html>sign in</html>", "no gzip-compressed archive"),
        (pack(CONTENT)[:-20], "the archive is cut off"),
        (pack({"patch.json": b'{"data": []}', ".manifest": b"{}"}), "the bundle is a delta, which does not count"),
        (pack({**CONTENT, "patch.json": b'{"data": []}'}), "the bundle is a delta, which does not count"),
        (pack({"README": b"hello"}), "there is no .rego file"),
    ],
)
def test_what_is_no_bundle_is_refused_and_asked_for_anew(body: bytes, said: str) -> None:
    async def play() -> None:
        bad = Fetched(200, '"bad"', GZIP, body)
        looked = Looked(answer(CONTENT), bad, bad, answer(OTHER, '"2"'))
        await looked.source.open()
        good = await looked.source.look()
        with pytest.raises(BundleError, match=said):
            await looked.source.load(fresh=True)
        told = await looked.source.look()
        assert told != good
        with pytest.raises(BundleError):
            await looked.source.load(fresh=True)
        assert await looked.source.look() == told
        assert (await looked.source.load(fresh=True)).modules
        assert looked.script.asked == [("", 0), ('"1"', 0), ("", 0), ("", 0)]
        assert looked.counted() == {"new": 2, "refused": 1, "unchanged": 1}
        assert looked.up == 1

    asyncio.run(play())


def test_only_what_is_signed_counts_and_no_delta_is_asked_for(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    good = signed(CONTENT, private)

    async def play() -> None:
        looked = Looked(
            answer(CONTENT),
            answer(good),
            answer({**good, "more.rego": b"package more\n"}),
            answer({"patch.json": b"{}", ".manifest": b"{}"}),
            answer({**good, "patch.json": b"{}"}),
            answer(signed(OTHER, private)),
            verification=Verification(key=public),
        )
        await looked.source.open()
        assert "the bundle is not signed" in await looked.problem()
        assert (await looked.source.load(fresh=True)).modules
        for said in ("more.rego: is not listed", "the bundle is not signed", "patch.json: is not listed"):
            with pytest.raises(BundleError, match=said):
                await looked.source.load(fresh=True)
        assert "more.rego" in (await looked.source.load(fresh=True)).modules

    asyncio.run(play())


def test_a_key_that_is_renewed_in_its_file_is_taken_up(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path)
    other = write_keys(tmp_path, "EdDSA", "other")[1]
    renewed = public.read_bytes()
    public.write_bytes(other.read_bytes())

    async def play() -> None:
        looked = Looked(
            answer(signed(CONTENT, private)), answer(signed(CONTENT, private)), verification=Verification(key=public)
        )
        await looked.source.open()
        assert "not good by the configured key" in await looked.problem()
        public.write_bytes(renewed)
        assert (await looked.source.load(fresh=True)).modules

    asyncio.run(play())


def test_what_was_verified_by_a_key_that_was_replaced_is_verified_anew(tmp_path: Path) -> None:
    """A server that has nothing new to say cannot keep a bundle in force unnoticed whose key is trusted no more."""
    private, public = write_keys(tmp_path)
    other = write_keys(tmp_path, "EdDSA", "other")[1]

    async def play() -> None:
        whole = answer(signed(CONTENT, private))
        looked = Looked(whole, status(304), whole, whole, verification=Verification(key=public))
        await looked.source.open()
        before = await looked.source.look()
        await looked.source.load(fresh=True)
        public.write_bytes(other.read_bytes())
        with pytest.raises(BundleError, match="not good by the configured key"):
            await looked.source.load(fresh=True)
        assert await looked.source.look() != before
        public.unlink()
        with pytest.raises(BundleError, match="nothing can be verified"):
            await looked.source.load(fresh=True)
        assert [etag for etag, _ in looked.script.asked] == ["", '"1"', "", ""]

    asyncio.run(play())


@pytest.mark.parametrize("etag", ["x" * 513, "a\r\nb", "\u00e9", "\x7f"])
def test_an_etag_that_is_no_header_is_not_sent_back(etag: str) -> None:
    async def play() -> None:
        looked = Looked(answer(CONTENT, etag), answer(CONTENT, etag))
        await looked.source.open()
        await looked.source.load(fresh=True)
        assert looked.script.asked == [("", 0), ("", 0)]

    asyncio.run(play())


class Pauses:
    """Stands in for the clock of the source: what it would sleep, in order, without sleeping."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            if seconds:
                self.seconds.append(seconds)
            await real(0)

        monkeypatch.setattr(download.asyncio, "sleep", sleep)
        monkeypatch.setattr(download.random, "uniform", lambda low, high: high)


async def run_out(looked: Looked) -> None:
    """Let the source ask until the script is at its end."""
    await looked.source.open()
    running = asyncio.create_task(looked.source.run())
    async with asyncio.timeout(20):
        await looked.script.done.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def paused(
    monkeypatch: pytest.MonkeyPatch, answers: Sequence[Fetched | DownloadError], **options: object
) -> tuple[list[float], Looked]:
    pauses = Pauses(monkeypatch)

    async def play() -> Looked:
        looked = Looked(*answers, **options)  # type: ignore[arg-type]
        await run_out(looked)
        return looked

    looked = asyncio.run(play())
    return pauses.seconds, looked


def test_a_server_that_does_not_wait_is_asked_at_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, looked = paused(monkeypatch, [answer(CONTENT), status(304), answer(OTHER)], poll_seconds=7)
    assert seconds == [7, 7, 7]
    assert {wait for _, wait in looked.script.asked} == {0}


def test_a_server_that_waits_is_asked_at_once_and_one_that_only_says_so_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        answer(CONTENT, kind=f"{LONG_POLL_TYPE}; x=y"),
        answer(OTHER, '"2"', LONG_POLL_TYPE),
        status(304),
        status(304),
    ]
    seconds, looked = paused(monkeypatch, answers, poll_seconds=7, wait_seconds=20)
    assert seconds == [0.01, 0.01, 7, 7]
    assert [wait for _, wait in looked.script.asked] == [0, 20, 20, 20, 20]


def test_long_polling_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, looked = paused(
        monkeypatch, [answer(CONTENT, kind=LONG_POLL_TYPE), status(304)], poll_seconds=7, wait_seconds=0
    )
    assert seconds == [7, 7]
    assert {wait for _, wait in looked.script.asked} == {0}


def test_a_server_that_fails_is_asked_ever_less_often_and_soon_again_once_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [answer(CONTENT), *[status(503)] * 9, status(304), status(503)]
    seconds, looked = paused(monkeypatch, answers, poll_seconds=7)
    assert seconds == [7, 1, 2, 4, 8, 16, 32, 60, 60, 60, 7, 1]
    assert looked.counted() == {"new": 1, "failed": 10, "unchanged": 1}


def test_an_older_answer_does_not_replace_a_newer_one() -> None:
    """A request that was held open comes back after another look has found news."""

    async def play() -> None:
        looked = Looked()
        gate = asyncio.Event()
        held = [answer(CONTENT), answer(OTHER, '"2"')]

        async def fetch(etag: str, wait: int, limit: int) -> Fetched:
            if wait:
                await gate.wait()
                return answer(CONTENT, '"old"')
            return held.pop(0)

        looked.script.fetch = fetch  # type: ignore[method-assign]
        await looked.source.open()
        slow = asyncio.create_task(looked.source._poll(20))
        await asyncio.sleep(0)
        await looked.source.load(fresh=True)
        gate.set()
        await slow
        assert "more.rego" in (await looked.source.load()).modules

    asyncio.run(play())
