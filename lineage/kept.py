"""The masked policy inputs that lie beside the log, for those who read what was decided."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from lineage.errors import SideError
from lineage.keys import load_master_key
from lineage.side import SideStore, TenantKeys, unseal
from lineage.side_place import SidePlace

Load = Callable[[str, str], bytes | None]
"""The masked input that a record of a tenant names by its digest; None where it is gone or cannot be read."""

AHEAD_BYTES: Final = 16 << 20
"""Sealed inputs that are read ahead, at most."""


class Inputs:
    """The inputs in a side store: a `Load`, which may be told what it will be asked for."""

    def __init__(self, side: SideStore, keys: TenantKeys) -> None:
        self._side = side
        self._keys = keys
        self._ahead: dict[str, bytes] = {}

    def __call__(self, tenant: str, digest: str) -> bytes | None:
        """See `Load`; LogUnavailable where the store cannot be asked."""
        blob = self._ahead.get(digest) or self._side.load(digest)
        if blob is None:
            return None
        try:
            return unseal(self._keys.get(tenant), tenant, blob)
        except SideError:
            return None

    def ahead(self, digests: Collection[str]) -> None:
        """Read what these name at once, in place of what was read ahead before; LogUnavailable as above."""
        self._ahead = self._side.load_many(digests, AHEAD_BYTES)


@contextmanager
def kept_inputs(data_dir: Path, database: str = "", *, seconds: float = 3_600.0) -> Iterator[Inputs]:
    """What returns the input that a record of a tenant names; None where it is gone or the tenant was erased.

    Tenants' keys are remembered for `seconds`, so that an erasure counts after so long. LogUnavailable, of the load
    too, where the store cannot be asked.
    """
    with closing(SidePlace(data_dir, database).side()) as side:
        keys = TenantKeys(side, load_master_key(data_dir), seconds=seconds)
        try:
            yield Inputs(side, keys)
        finally:
            keys.close()
