"""A bundle on a server: downloaded, watched for changes, and kept in memory as it was last seen.

Source: OPA's documentation of bundles, "Bundle Service API": a GET with `If-None-Match`, and with `Prefer: wait=N`
where the server holds the request open until there is news; it says so by the answer's content type. Deltas are not
asked for: an unsigned one never counts, and OPA has no signed ones.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final, Literal, NamedTuple, NoReturn, Protocol
from urllib.parse import urlsplit

from lineage.metrics import Meter
from policies.bundle import Bundle, bundle_of_archive
from policies.errors import BundleError, PolicyError, Problem
from policies.settings import Policy
from policies.signatures import fingerprint
from policies.tarball import MAX_BUNDLE

MAX_ETAG: Final = 512
LONGEST_PAUSE: Final = 60.0
"""Longest pause in seconds between two attempts at a server that fails, unless `poll_seconds` is longer."""
LONG_POLL_TYPE: Final = "application/vnd.openpolicyagent.bundles"
_QUICK: Final = 1.0
Result = Literal["new", "unchanged", "refused", "failed"]
RESULTS: Final[tuple[Result, ...]] = ("new", "unchanged", "refused", "failed")


class DownloadError(PolicyError):
    """There is no whole answer; the text says what came instead and never shows what was sent."""


class Fetched(NamedTuple):
    """An answer of the bundle server, whole. Headers that are not there are empty."""

    status: int
    etag: str
    content_type: str
    body: bytes


class Fetcher(Protocol):
    """Asks the one configured address."""

    async def fetch(self, etag: str, wait: int, limit: int) -> Fetched:
        """One GET; DownloadError where no whole answer of at most `limit` bytes comes within the time for it.

        `etag` is what is there already ("" for nothing), `wait` how many seconds the server may take for news.
        """
        ...


class DownloadedSource:
    """The bundle of a server, as `policies.source.Source`.

    What was downloaded last stays what `load` says, also once a change is refused or the server is away: then `load`
    raises that, and the bundle in force is left as it is.
    """

    def __init__(self, settings: Policy, fetcher: Fetcher, meter: Meter) -> None:
        self._url = str(settings.bundle)
        self._settings = settings
        self._fetcher = fetcher
        self._results = {how: meter.counter("cordon_policy_downloads_total", how) for how in RESULTS}
        self._up = meter.gauge("cordon_policy_download_up")
        self._content: Bundle | tuple[Problem, ...] | None = None
        self._fault: Problem | None = None
        self._etag = self._key = ""
        self._serial = 0
        self._long = False
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Download it for the first time."""
        await self._poll(0)

    async def look(self) -> object:
        """What came last: a number for each download, and what is wrong with the server."""
        return self._serial, self._fault

    async def load(self, *, fresh: bool = False) -> Bundle:
        """What was downloaded last; with `fresh`, what the server has now."""
        if fresh:
            await self._poll(0)
        if self._fault is not None:
            raise BundleError([self._fault])
        if isinstance(self._content, Bundle):
            return self._content
        raise BundleError(self._content or ())

    async def run(self) -> None:
        """Ask again and again: at once where the server waits for news, after a pause where it does not or fails."""
        settings, failures, loop = self._settings.download, 0, asyncio.get_running_loop()
        held = True
        while True:
            long = self._long and settings.wait_seconds > 0
            if self._fault is not None:
                failures += 1
                pause = min(2.0 ** min(failures - 1, 10), max(LONGEST_PAUSE, settings.poll_seconds))
            else:
                failures = 0
                pause = self._settings.reload_seconds if long and held else settings.poll_seconds
            await asyncio.sleep(pause * random.uniform(0.75, 1.0))  # noqa: S311 - so that workers do not ask all at once
            began, serial = loop.time(), self._serial
            await self._poll(settings.wait_seconds if long else 0)
            # A server that says that it waits, and does not, is asked no more often than one that does not.
            held = self._serial != serial or loop.time() - began >= _QUICK

    async def _poll(self, wait: int) -> None:
        try:
            key = await asyncio.to_thread(_key, self._settings)
            if key != self._key:
                # What was verified by another key does not count: it is asked for whole, to be verified by this one.
                self._key, self._etag = key, ""
            asked = self._etag, self._serial
            answer = await self._fetcher.fetch(self._etag, wait, MAX_BUNDLE)
            async with self._lock:
                # A look that was faster may have had a newer answer: then the server is asked again.
                result = await self._take_in(answer) if asked == (self._etag, self._serial) else "unchanged"
            self._fault = None
        except DownloadError as error:
            remedy = "see to the bundle server, and policy.bundle and policy.download"
            self._fault = Problem(self._url, 0, 0, "download", f"could not be downloaded: {error}", remedy)
            result = "failed"
        self._results[result].inc()
        self._up.set(0 if self._fault else 1)

    async def _take_in(self, answer: Fetched) -> Result:
        """Keep what an answer has."""
        if answer.status == 304 and self._etag:
            return "unchanged"
        if answer.status != 200:
            _refuse(answer.status)
        label = urlsplit(self._url).path.rpartition("/")[2]
        try:
            content: Bundle | tuple[Problem, ...] = await asyncio.to_thread(
                bundle_of_archive, answer.body, label, self._settings.verification
            )
        except BundleError as error:
            content = error.problems
        self._long = answer.content_type.partition(";")[0].strip().lower() == LONG_POLL_TYPE
        usable = len(answer.etag) <= MAX_ETAG and answer.etag.isascii() and answer.etag.isprintable()
        # What is refused is asked for anew, since the key's file may change as well.
        self._etag = answer.etag if usable and isinstance(content, Bundle) else ""
        same = (
            isinstance(content, Bundle) and isinstance(self._content, Bundle) and content.digest == self._content.digest
        )
        if same or content == self._content:
            return "unchanged"
        self._content = content
        self._serial += 1
        return "new" if isinstance(content, Bundle) else "refused"


def _key(settings: Policy) -> str:
    """What bundles are verified by now."""
    try:
        return fingerprint(settings.verification)
    except OSError:
        return "missing"


def _refuse(status: int) -> NoReturn:
    if status in {401, 403}:
        raise DownloadError(f"the server refused Cordon itself ({status}); see policy.download.credential")
    if 300 <= status < 400 and status != 304:
        raise DownloadError(f"the server points elsewhere ({status}), which is not followed; name that address itself")
    raise DownloadError(f"the server answered {status}")
