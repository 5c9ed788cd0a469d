"""Erasing a tenant: its key is destroyed, and what it sealed goes; the log's leaves, which hold no content, stay.

The order decides what a crash leaves. The record comes first: from its commit on no worker does anything for the
tenant. Then the file `keys/erased` names it, then the key goes, then tokens and blobs. Whatever was left out is made up
for by the same command, and the key by the log writer's next start (`catch_up`).

That file is why a backup does not bring an erased tenant back. Keys are kept apart from backups, so it outlives the
restoring of an older log and an older side database, from which the erasure is missing: the key is destroyed again, and
the restored log told again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lineage.actions import IDENTIFIER, Record, Stamp, erase_tenant
from lineage.control import ControlState
from lineage.errors import KeyFileError
from lineage.keys import read_private
from lineage.paths import Paths, flush, make_private, make_private_file
from lineage.reader import LogReader
from lineage.record import decode
from lineage.side import SideStore
from lineage.tokens import Tokens

_STEP: Final = 10_000
LARGEST: Final = 64 << 20
"""Bytes of `keys/erased` that are read: names of a million tenants."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What was deleted of a tenant beside its key."""

    blobs: int
    tokens: int


def erased_path(data_dir: Path) -> Path:
    """Return the file that names the erased tenants: one JSON object a line, `tenant` and `at` (ms)."""
    return Paths(data_dir).keys / "erased"


def remembered(data_dir: Path) -> dict[str, int]:
    """Return the erased tenants that `keys/erased` names, with the time (ms); KeyFileError where it is no such file.

    A last line that breaks off is that of an erasure that broke off, and counts as none.
    """
    return read_erased(erased_path(data_dir))


def read_erased(path: Path) -> dict[str, int]:
    """Return what such a file holds, wherever it lies; see `remembered`."""
    return _parse(path, read_private(path, LARGEST)) if path.exists() else {}


def _parse(path: Path, data: bytes) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            entry = json.loads(line)
            tenant, at = entry["tenant"], entry["at"]
        except (ValueError, LookupError, TypeError):
            tenant, at = "", 0
        if type(tenant) is not str or not IDENTIFIER.fullmatch(tenant) or type(at) is not int:
            raise KeyFileError(f"{path}:{number} names no erased tenant; restore the file from a copy")
        found.setdefault(tenant, at)
    return found


def remember(data_dir: Path, tenants: Mapping[str, int]) -> None:
    """Have `keys/erased` name these tenants too, durably; processes that do so at once take turns."""
    path = erased_path(data_dir)
    if tenants.keys() <= read_erased(path).keys():
        return
    make_private(path.parent)
    make_private_file(path)
    with path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        data = file.read()
        known = _parse(path, data)
        # What an erasure that broke off left behind must not swallow the next line.
        whole = data.rpartition(b"\n")
        file.seek(len(whole[0]) + len(whole[1]))
        file.truncate()
        missing = [{"tenant": tenant, "at": at} for tenant, at in tenants.items() if tenant not in known]
        file.write(b"".join(json.dumps(each).encode() + b"\n" for each in missing))
        file.flush()
        os.fsync(file.fileno())
    flush(path.parent)


def destroy(
    tenant: str,
    side: SideStore,
    tokens: Tokens,
    reader: LogReader,
    progress: Callable[[int], object] = lambda _records: None,
) -> Destroyed:
    """Delete what lies beside the log of a tenant whose key is destroyed: tokens, and the blobs that its records name.

    `progress` is told how many more records were looked through.
    """
    count = 0
    while deleted := tokens.erase(tenant):
        count += deleted
    blobs = 0
    needle = f'"tenant":"{tenant}"'.encode()
    size = reader.size()
    for start in range(0, size, _STEP):
        blobs += _delete_blobs(tenant, side, reader, needle, start, min(start + _STEP, size))
        progress(min(_STEP, size - start))
    return Destroyed(blobs, count)


def _delete_blobs(tenant: str, side: SideStore, reader: LogReader, needle: bytes, start: int, end: int) -> int:
    """Delete the blobs that the tenant's records in [start, end) name. A search returns so many at most: go on."""
    deleted = 0
    while start < end and (rows := reader.source.search(needle, start, end)):
        records = [decode(data) for _, data in rows]
        named = {str(record.get("side")) for record in records if record.get("tenant") == tenant}
        deleted += side.delete(digest for digest in named if _DIGEST.fullmatch(digest))
        start = rows[-1][0] + 1
    return deleted


def catch_up(
    data_dir: Path, control: ControlState, side: Callable[[], SideStore], stamp: Stamp, by: str
) -> list[Record]:
    """Destroy again what a restored backup brought back; return the records that its log lacks, for appending.

    Both ways: a tenant that the log or `keys/erased` calls erased has no key afterwards, and the file names it. `side`
    opens the side database, which is done only where there is something to look after.
    """
    told = remembered(data_dir)
    known = {tenant: erased.at for tenant, erased in control.erased.items()}
    if not told and not known:
        return []
    remember(data_dir, known)
    store = side()
    try:
        for tenant in {*told, *known}:
            if store.wrapped_key(tenant) != (None,):
                store.erase_key(tenant)
    finally:
        store.close()
    return [
        erase_tenant(stamp, tenant=tenant, by=by, first_at=at) for tenant, at in told.items() if tenant not in known
    ]


def has_traces(tenant: str, control: ControlState, side: SideStore, configured: Collection[str]) -> bool:
    """Whether a tenant of this name is configured, has keys, or had any: whether there is something to erase."""
    return (
        tenant in configured
        or tenant in control.erased
        or side.wrapped_key(tenant) is not None
        or any(key.tenant == tenant for key in control.keys.values())
    )
