"""Reads the bundle that a command is about: from a folder, an archive or, as a worker does, from a server.

And those that decided recorded calls, by their revisions: the configured one and the roll-outs that are known.
"""

from __future__ import annotations

import asyncio
from contextlib import closing, suppress
from functools import cached_property
from typing import Final
from urllib.parse import urlsplit

from cordon.config import Config
from gateway.bundle_server import BundleServer
from gateway.settings import Limits
from gateway.sweep import Sweep
from lineage.bundles import BundleStore
from lineage.errors import SideError
from lineage.metrics import Meter
from lineage.reader import open_reader
from lineage.side_place import SidePlace
from policies.admission import admit_now
from policies.bundle import Bundle, load_bundle
from policies.download import DownloadedSource
from policies.embedded import EmbeddedEngine
from policies.errors import BundleError
from policies.settings import BundlePlace, Download, Policy
from policies.stored import stored_bundle

CACHE_BYTES: Final = 1 << 20
"""What each bundle that decided recorded calls may remember of its decisions: there may be many of them."""


def read_bundle(settings: Policy) -> Bundle:
    """The configured bundle, verified as configured; BundleError where it cannot be had."""
    if isinstance(settings.bundle, str):
        return asyncio.run(_downloaded(settings))
    return load_bundle(settings.bundle, settings.verification)


def about(settings: Policy, bundle: BundlePlace) -> Policy:
    """The same settings for another bundle, a draft: it need not be signed, and no server of another origin gets the
    configured token."""
    own = isinstance(bundle, str) and isinstance(settings.bundle, str) and _origin(bundle) == _origin(settings.bundle)
    download = settings.download if own else Download()
    changed = {"bundle": bundle, "download": download, "verification": None}
    return settings.model_copy(update=changed)


def rolled_out(config: Config, revision: str) -> Bundle | None:
    """The bundle of this revision, where it is one that is rolled out; BundleError where it cannot be had."""
    with closing(open_reader(config.data_dir, config.database)) as reader:
        rollout = next((each for each in reader.control().rollouts.values() if each.revision == revision), None)
    if rollout is None:
        return None
    with closing(SidePlace(config.data_dir, config.database).side()) as side:
        return stored_bundle(BundleStore(side).get, rollout)


class PastBundles:
    """Engines of the bundles that decided recorded calls: of the configured one, if it is that still, and of roll-outs.

    There are never more than there may be roll-outs, and the configured one; each is examined once.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._settings = config.policy.model_copy(update={"cache_bytes": CACHE_BYTES})
        self._engines: dict[str, EmbeddedEngine | None] = {}
        with closing(open_reader(config.data_dir, config.database)) as reader:
            self._rolled_out = {each.revision for each in reader.control().rollouts.values()}

    def __call__(self, revision: str) -> EmbeddedEngine | None:
        """The engine of the bundle of this revision; None where it is not to be had, or is not admitted here."""
        if revision not in self._engines:
            bundle = self._bundle(revision)
            if bundle is None and revision not in self._rolled_out:
                return None  # whatever the log names is not remembered
            self._engines[revision] = None if bundle is None else self._engine(bundle)
        return self._engines[revision]

    def _bundle(self, revision: str) -> Bundle | None:
        if revision in self._rolled_out:
            with suppress(BundleError, SideError):
                return rolled_out(self._config, revision)
        configured = self._configured
        return configured if configured is not None and configured.revision == revision else None

    @cached_property
    def _configured(self) -> Bundle | None:
        """The configured bundle, where it can be read; a server is asked for it once."""
        with suppress(BundleError):
            return read_bundle(self._config.policy)
        return None

    def _engine(self, bundle: Bundle) -> EmbeddedEngine | None:
        admission = admit_now(bundle, self._settings)
        if admission.bundle is None:
            return None
        return EmbeddedEngine(admission.bundle, self._settings, admission.reads, admission.uncached)


async def _downloaded(settings: Policy) -> Bundle:
    sweep = Sweep()
    server = BundleServer(settings, Limits(), sweep)
    try:
        source = DownloadedSource(settings, server, Meter("cordon"))
        await source.open()
        return await source.load()
    finally:
        await server.close()
        sweep.close()


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
