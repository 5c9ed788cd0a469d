"""The masked policy inputs that lie beside the log, for those who read what was decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lineage.errors import SideError
from lineage.keys import load_master_key
from lineage.side import TenantKeys, unseal
from lineage.side_place import SidePlace

Load = Callable[[str, str], bytes | None]
"""The masked input that a record of a tenant names by its digest; None where it is gone or cannot be read."""


@contextmanager
def kept_inputs(data_dir: Path, database: str = "", *, seconds: float = 3_600.0) -> Iterator[Load]:
    """What returns the input that a record of a tenant names; None where it is gone or the tenant was erased.

    Tenants' keys are remembered for `seconds`, so that an erasure counts after so long. LogUnavailable, of the load
    too, where the store cannot be asked.
    """
    with closing(SidePlace(data_dir, database).side()) as side:
        keys = TenantKeys(side, load_master_key(data_dir), seconds=seconds)

        def load(tenant: str, digest: str) -> bytes | None:
            blob = side.load(digest)
            if blob is None:
                return None
            try:
                return unseal(keys.get(tenant), tenant, blob)
            except SideError:
                return None

        try:
            yield load
        finally:
            keys.close()
