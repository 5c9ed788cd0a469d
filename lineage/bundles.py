"""The archives of the policy bundles that are rolled out: where every node finds them, by what is in them.

The log names an archive by its SHA-256, and what is read is compared with it: whoever can write the side tables, and
not the log, cannot put another bundle in the place of the one that was approved.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from typing import Final

from lineage.errors import SideError
from lineage.side import SideStore

MAX_ARCHIVE: Final = 16 << 20
"""Bytes of one archive."""
UNNEEDED_SECONDS: Final = 600
"""How long an archive stays that no roll-out names: it is put here before the record that names it is written."""


class BundleStore:
    """The archives in a side store. Every method raises LogUnavailable where that fails."""

    def __init__(self, side: SideStore) -> None:
        self._side = side

    def put(self, archive: bytes) -> str:
        """Keep an archive, durably; return its SHA-256 (hex). SideError where it is too large."""
        if len(archive) > MAX_ARCHIVE:
            raise SideError(f"the bundle's archive has {len(archive):,} bytes, at most {MAX_ARCHIVE:,} are kept")
        self._side.add_bundle(_now(), archive)
        return hashlib.sha256(archive).hexdigest()

    def get(self, digest: str) -> bytes | None:
        """Return the archive with this SHA-256 (hex), None where it is not kept; SideError where it was changed."""
        archive = self._side.bundle(digest)
        if archive is not None and hashlib.sha256(archive).hexdigest() != digest:
            raise SideError("the bundle's archive was changed after it was proposed; propose it again")
        return archive

    def tidy(self, needed: Collection[str]) -> int:
        """Delete the archives that no roll-out names any more; return how many."""
        return self._side.drop_bundles(needed, _now() - UNNEEDED_SECONDS * 1_000)


def _now() -> int:
    return time.time_ns() // 1_000_000
