"""The masked policy inputs that lie beside the log, for the commands that decide recorded calls anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from cordon.config import Config
from lineage.errors import SideError
from lineage.keys import load_master_key
from lineage.side import TenantKeys, unseal
from lineage.side_place import SidePlace
from policies.replay import Load

_REMEMBERED_SECONDS = 3_600.0


@contextmanager
def kept_inputs(config: Config) -> Iterator[Load]:
    """What returns the input that a record of a tenant names; None where it is gone or the tenant was erased."""
    with closing(SidePlace(config.data_dir, config.database).side()) as side:
        keys = TenantKeys(side, load_master_key(config.data_dir), seconds=_REMEMBERED_SECONDS)

        def load(tenant: str, digest: str) -> bytes | None:
            blob = side.load(digest)
            if blob is None:
                return None
            try:
                return unseal(keys.get(tenant), tenant, blob)
            except SideError:
                return None

        yield load
