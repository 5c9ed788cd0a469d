"""Inputs that lie beside the log, read one by one or many ahead: the same is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineage import kept
from lineage.kept import kept_inputs
from lineage.keys import load_master_key
from lineage.paths import make_private
from lineage.side import TenantKeys, blob_digest, seal
from lineage.side_place import SidePlace

TENANTS = ("acme", "globex")


@pytest.fixture
def named(tmp_path: Path) -> dict[str, tuple[str, bytes]]:
    """Digests of inputs that are kept, with their tenants."""
    make_private(tmp_path)
    side = SidePlace(tmp_path).side()
    keys = TenantKeys(side, load_master_key(tmp_path))
    texts = [(tenant, b'{"n": %d}' % number) for number in range(20) for tenant in TENANTS]
    blobs = [seal(keys.get(tenant), tenant, text) for tenant, text in texts]
    side.save([(1, blob) for blob in blobs])
    keys.close()
    side.close()
    return {blob_digest(blob): text for blob, text in zip(blobs, texts, strict=True)}


@pytest.mark.parametrize("room", [0, 100, 16 << 20])
def test_what_is_read_ahead_is_what_is_read_alone(
    tmp_path: Path, named: dict[str, tuple[str, bytes]], room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "AHEAD_BYTES", room)
    with kept_inputs(tmp_path) as inputs:
        inputs.ahead([*named, "00" * 32])
        for digest, (tenant, text) in named.items():
            assert inputs(tenant, digest) == text
        assert inputs("acme", "00" * 32) is None


def test_what_is_read_ahead_is_no_other_tenants_and_goes_with_its_key(
    tmp_path: Path, named: dict[str, tuple[str, bytes]]
) -> None:
    with kept_inputs(tmp_path, seconds=0.0) as inputs:
        inputs.ahead(named.keys())
        mine, other = ([digest for digest, (who, _) in named.items() if who == tenant] for tenant in TENANTS)
        assert inputs("acme", other[0]) is None
        side = SidePlace(tmp_path).side()
        side.erase_key("acme")
        side.close()
        assert inputs("acme", mine[0]) is None
        assert inputs("globex", other[0]) is not None
