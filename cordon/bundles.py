"""Reads the bundle that a command is about: from a folder, an archive or, as a worker does, from a server."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from gateway.bundle_server import BundleServer
from gateway.settings import Limits
from gateway.sweep import Sweep
from lineage.metrics import Meter
from policies.bundle import Bundle, load_bundle
from policies.download import DownloadedSource
from policies.settings import BundlePlace, Download, Policy


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
