"""Where the bundle in force comes from: a folder or an archive on this machine, or a server (`download.py`)."""

from __future__ import annotations

import asyncio
from typing import Protocol

from policies.bundle import Bundle, load_bundle, signature
from policies.errors import PolicyError
from policies.settings import Policy


class Source(Protocol):
    """Hands out the bundle as it is now. All of it belongs to one event loop."""

    async def open(self) -> None:
        """Get ready, so that `load` has something to say; what goes wrong is for `load` to tell."""
        ...

    async def look(self) -> object:
        """A mark that is another one whenever `load` might say something else."""
        ...

    async def load(self, *, fresh: bool = False) -> Bundle:
        """The bundle, verified as configured; BundleError why there is none. `fresh`: look anew, whatever it costs."""
        ...

    async def run(self) -> None:
        """What is to be done meanwhile, until cancelled."""
        ...


class LocalSource:
    """A folder or an archive, read each time."""

    def __init__(self, settings: Policy) -> None:
        if isinstance(settings.bundle, str):
            raise PolicyError("a bundle on a server needs something that downloads it")
        self._place = settings.bundle
        self._verification = settings.verification

    async def open(self) -> None:
        """Nothing is held open."""

    async def look(self) -> object:
        """Names, times and sizes of the files, that with the key among them."""
        if self._verification is None:
            return await asyncio.to_thread(signature, self._place)
        files = await asyncio.to_thread(signature, self._place, everything=True)
        return files, await asyncio.to_thread(signature, self._verification.key)

    async def load(self, *, fresh: bool = False) -> Bundle:
        """Read it as it lies there now."""
        return await asyncio.to_thread(load_bundle, self._place, self._verification)

    async def run(self) -> None:
        """Nothing: each look is at the files themselves."""
