"""Keeps the bundle in force up to date: looks for changes, and takes up only what can be loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from policies.bundle import load_bundle
from policies.embedded import EmbeddedEngine
from policies.errors import BundleError, Problem
from policies.settings import Policy


class Reloader:
    """Holds the engine of the bundle in force in `engine`; a bundle that is refused leaves the one before."""

    def __init__(
        self,
        settings: Policy,
        run_dir: Path,
        *,
        on_loaded: Callable[[str], None],
        on_rejected: Callable[[Sequence[Problem]], None],
    ) -> None:
        self._settings = settings
        self._run_dir = run_dir
        self._on_loaded = on_loaded
        self._on_rejected = on_rejected
        self._seen = ""
        self.engine: EmbeddedEngine

    async def start(self) -> None:
        """Load the first bundle; BundleError where it is refused."""
        bundle = load_bundle(self._settings.bundle)
        self.engine = EmbeddedEngine(bundle, self._settings)
        self._seen = bundle.revision
        self._on_loaded(bundle.revision)

    async def run(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await asyncio.sleep(self._settings.reload_seconds)
            try:
                bundle = load_bundle(self._settings.bundle)
                if bundle.revision != self._seen:
                    self._seen = bundle.revision
                    self.engine = EmbeddedEngine(bundle, self._settings)
                    self._on_loaded(bundle.revision)
            except BundleError as error:
                self._on_rejected(error.problems)

    def close(self) -> None:
        """Stop looking."""
